package lockside

import (
	"encoding/json"
	"fmt"
	"time"
)

// TTL is what a lock has without [WithTTL].
const TTL = 30 * time.Second

// An Option says how a lock is acquired.
type Option func(*order) error

// WithTTL sets how long the lock outlives a sidecar or a machine that is lost. It is renewed all the time, so that long work
// can use a short ttl.
func WithTTL(ttl time.Duration) Option {
	return func(order *order) error {
		if ttl < time.Millisecond {
			return fmt.Errorf("ttl: expected at least 1ms, not %v", ttl)
		}
		order.ttl = ttl
		return nil
	}
}

// WithWait bounds how long the lock is waited for: after that the error is a [*HeldError]. Without it, only the context
// bounds the wait. 0 does not wait, as [Client.Try].
func WithWait(wait time.Duration) Option {
	return func(order *order) error {
		if wait < 0 {
			return fmt.Errorf("wait: expected 0 or more, not %v", wait)
		}
		order.wait = wait
		return nil
	}
}

// WithOwner names the holder; by default it is [Config].Owner, or HOST/PID.
func WithOwner(owner string) Option {
	return func(order *order) error {
		order.owner = owner
		return nil
	}
}

// WithMeta attaches a value to the lock, as JSON: it is shown to others where the holder is.
func WithMeta(meta any) Option {
	return func(order *order) error {
		text, err := json.Marshal(meta)
		if err != nil {
			return fmt.Errorf("meta: %w", err)
		}
		order.meta = text
		return nil
	}
}

// WithOnWait has f called while the lock is waited for, at least every 2 s, by the goroutine that acquires it. The position
// in the queue is 1 for the next to be served, and 0 if it is not known yet; so the holder may be nil.
func WithOnWait(f func(position int, holder *Holder)) Option {
	return func(order *order) error {
		order.onWait = f
		return nil
	}
}
