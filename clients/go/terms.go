package lockside

import (
	"fmt"
	"time"
)

// terms say when the key of a lock gets free, which may be later than its end, and for how long it can be renewed.
type terms struct {
	delay   time.Duration
	minHold time.Duration
	// 0: the caller sets no cap.
	maxHold time.Duration
	rest    time.Duration
}

// WithDelay keeps the key taken for so long when the lock ends without a release: the process or its machine dies, or the
// lock is lost. For work that may go on for a while after its lock: the next holder does not meet it. [Lock.Release] frees
// the key at once.
func WithDelay(delay time.Duration) Option {
	return func(order *order) error {
		return span("delay", delay, &order.terms.delay)
	}
}

// WithMinHold keeps the key taken for so long from the grant on at least, also after a release, and whatever ends the lock:
// for work that is to run at most once in a time. Until then others get a [*HeldError] whose State is [Resting].
func WithMinHold(minHold time.Duration) Option {
	return func(order *order) error {
		return span("minimum hold", minHold, &order.terms.minHold)
	}
}

// WithMaxHold bounds for how long the lock is held, from its grant on: then it is lost, with the reason [MaxHold]. Without
// it, the --max-hold of the sidecar is the only bound.
func WithMaxHold(maxHold time.Duration) Option {
	return func(order *order) error {
		if maxHold < time.Millisecond {
			return fmt.Errorf("maximum hold: expected at least 1ms, not %v", maxHold)
		}
		order.terms.maxHold = maxHold
		return nil
	}
}

// WithRest keeps the key taken for so long from the release on: a pause between the end of the work and the next grant.
func WithRest(rest time.Duration) Option {
	return func(order *order) error {
		return span("rest", rest, &order.terms.rest)
	}
}

func span(name string, given time.Duration, into *time.Duration) error {
	if given < 0 {
		return fmt.Errorf("%s: expected 0 or more, not %v", name, given)
	}
	*into = given
	return nil
}

// query is what a release says of them, behind its token.
func (t terms) query() string {
	if rest := rounded(t.rest); rest > 0 {
		return fmt.Sprintf("&restMs=%d", rest)
	}
	return ""
}

// outlast tells whether the key may stay taken when the lease has ended.
func (t terms) outlast() bool {
	return t.delay > 0 || t.minHold > 0
}

// leaveARest tells whether the key may stay taken when the lock was released.
func (t terms) leaveARest() bool {
	return t.minHold > 0 || t.rest > 0
}

// cap is the moment after which a validity is the last one; first is the end of the first. A validity is somewhat shorter than
// what the sidecar promised, and not by the same time each.
func (t terms) cap(first moment, ttl time.Duration) moment {
	if t.maxHold == 0 {
		return never
	}
	return first.after(t.maxHold - ttl - ttl/4 - 100*time.Millisecond)
}

func rounded(span time.Duration) int64 {
	return span.Round(time.Millisecond).Milliseconds()
}
