package lockside

import (
	"context"
	"fmt"
	"time"
)

// The longest that a release is asked for.
const longestRelease = 3 * time.Second

// What is known after a release.
type releaseOutcome int

const (
	unconfirmed releaseOutcome = iota
	confirmed
	// The lease had ended before.
	gone
)

// release releases a lease by its token; the query stands behind it.
func (a *attempt) release(token int64, query string, within time.Duration) releaseOutcome {
	until := now().after(within)
	for wasSent := false; ; {
		status, isThere := a.delete(fmt.Sprintf("%s?token=%d%s", a.path, token, query), until)
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

// delete asks once. The status is 0 without an answer; isThere tells whether something listens.
func (a *attempt) delete(path string, until moment) (status int, isThere bool) {
	headers, err := a.sidecar.headers()
	if err != nil {
		return 0, true
	}
	exchange, err := dial(context.Background(), a.sidecar.address, a.sidecar.tls, until, time.Second)
	if err != nil {
		return 0, false
	}
	defer exchange.close()
	if err = exchange.send("DELETE", path, headers, nil, until); err == nil {
		status, _, err = exchange.head(until)
	}
	if err != nil {
		return 0, true
	}
	return status, true
}

// giveBack releases a grant that is not wanted.
func (a *attempt) giveBack(granted *grant) {
	a.release(granted.lease.token, "", min(longestRelease, a.sidecar.timeout))
	granted.exchange.close()
}
