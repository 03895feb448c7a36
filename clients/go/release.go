package lockside

import (
	"context"
	"encoding/json"
	"time"
)

// The longest that a release is asked for.
const longestRelease = 3 * time.Second

// A releaseOutcome is what is known after a release.
type releaseOutcome struct {
	isConfirmed bool
	// The keys whose leases had ended before.
	lost []string
}

// release releases leases by their tokens, and leaves the rest that the terms say if it rests.
func (a *attempt) release(leases []lease, rests bool, within time.Duration) (outcome releaseOutcome) {
	method, path, content := a.claim.release(leases, rests)
	until := now().after(within)
	for wasSent, wasAnswered := a.isBrokenOff, a.isBrokenOff; ; {
		status, lost, isThere := a.ask(method, path, content, until)
		if status == 410 && lost == nil {
			// Of one key its name is not said.
			lost = keysOf(leases)
		}
		// What an earlier request of ours did is not a loss. A release without an answer did all that, or nothing.
		if !wasSent || status == 410 && !wasAnswered && len(lost) < len(leases) {
			outcome.lost = append(outcome.lost, lost...)
		}
		switch {
		case status == 204, status == 410:
			outcome.isConfirmed = true
			return outcome
		case !isThere, status >= 400 && status < 500, until.left() < 2*shortPause:
			return outcome
		}
		wasSent, wasAnswered = true, wasAnswered || status != 0
		pause(context.Background(), shortPause)
	}
}

// ask asks once. The status is 0 without an answer; lost are the keys that the answer says had ended; isThere tells whether
// something listens.
func (a *attempt) ask(method, path string, content []byte, until moment) (status int, lost []string, isThere bool) {
	headers, err := a.sidecar.headers()
	if err != nil {
		return 0, nil, true
	}
	if content != nil {
		headers["Content-Type"] = "application/json"
	}
	exchange, err := dial(context.Background(), a.sidecar.address, a.sidecar.tls, until, time.Second)
	if err != nil {
		return 0, nil, false
	}
	defer exchange.close()
	if err = exchange.send(method, path, headers, content, until); err == nil {
		status, _, err = exchange.head(until)
	}
	if err != nil {
		return 0, nil, true
	}
	if status == 410 || status == 504 {
		var answer problem
		_ = json.Unmarshal(exchange.rest(until), &answer)
		lost = answer.Lost
	}
	return status, lost, true
}

// giveBack releases a grant that is not wanted.
func (a *attempt) giveBack(granted *grant) {
	a.release(granted.leases, false, min(longestRelease, a.sidecar.timeout))
	granted.exchange.close()
}
