package lockside

import (
	"context"
	"time"
)

// The longest that a release is asked for.
const longestRelease = 3 * time.Second

// What is known after a release.
type releaseOutcome int

const (
	unconfirmed releaseOutcome = iota
	confirmed
	// A lease had ended before.
	gone
)

// release releases leases by their tokens, and leaves the rest that the terms say if it rests.
func (a *attempt) release(leases []lease, rests bool, within time.Duration) releaseOutcome {
	method, path, content := a.claim.release(leases, rests)
	until := now().after(within)
	for wasSent := false; ; {
		status, isThere := a.ask(method, path, content, until)
		switch {
		case status == 204, status == 410 && wasSent:
			// A request without an answer may have done it.
			return confirmed
		case status == 410:
			return gone
		case !isThere, status >= 400 && status < 500, until.left() < 2*shortPause:
			return unconfirmed
		}
		wasSent = true
		pause(context.Background(), shortPause)
	}
}

// ask asks once. The status is 0 without an answer; isThere tells whether something listens.
func (a *attempt) ask(method, path string, content []byte, until moment) (status int, isThere bool) {
	headers, err := a.sidecar.headers()
	if err != nil {
		return 0, true
	}
	if content != nil {
		headers["Content-Type"] = "application/json"
	}
	exchange, err := dial(context.Background(), a.sidecar.address, a.sidecar.tls, until, time.Second)
	if err != nil {
		return 0, false
	}
	defer exchange.close()
	if err = exchange.send(method, path, headers, content, until); err == nil {
		status, _, err = exchange.head(until)
	}
	if err != nil {
		return 0, true
	}
	return status, true
}

// giveBack releases a grant that is not wanted.
func (a *attempt) giveBack(granted *grant) {
	a.release(granted.leases, false, min(longestRelease, a.sidecar.timeout))
	granted.exchange.close()
}
