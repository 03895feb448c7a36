package lockside

import (
	"context"
	"math"
	"time"
)

// A moment is a time by the clock that leases are counted by: it never steps, and it goes on while the machine sleeps where
// there is such a clock.
type moment time.Duration

const never = moment(math.MaxInt64)

// start is what package time counts from where there is no better clock.
var start = time.Now()

// after is the moment a span later, and never if that is beyond what can be said.
func (m moment) after(span time.Duration) moment {
	if span > time.Duration(never-m) {
		return never
	}
	return m + moment(span)
}

// left is how long it is until the moment: below 0 if it has passed.
func (m moment) left() time.Duration {
	return time.Duration(m - now())
}

// deadline is the moment as the standard library takes it.
func (m moment) deadline() time.Time {
	if m == never {
		return time.Time{}
	}
	return time.Now().Add(m.left())
}

// pause sleeps, and ends early with the context.
func pause(ctx context.Context, span time.Duration) {
	if span <= 0 {
		return
	}
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
