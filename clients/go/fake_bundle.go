package lockside

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"
)

// A fakeBundle is a bundle of a fake: one hold for each key, in the order of their bytes, as the sidecar acquires them. What
// changes is under the fake's mu.
type fakeBundle struct {
	fake    *Fake
	order   order
	holds   []*fakeHold
	signal  *signal
	reason  Reason
	lostKey string
	// Ends an acquire that waits.
	cancel context.CancelCauseFunc
	// It has all its keys.
	isGranted bool
}

func (f *Fake) openBundle(ctx context.Context, order order) (holding, error) {
	bundle := &fakeBundle{fake: f, order: order, signal: newSignal()}
	if err := bundle.valid(); err != nil {
		return nil, err
	}
	legs := append([]leg(nil), order.legs...)
	sort.Slice(legs, func(one, other int) bool { return legs[one].key < legs[other].key })
	acquire := bundle.await
	if order.wait == 0 {
		acquire = bundle.acquireAtOnce
	}
	if err := acquire(ctx, legs); err != nil {
		_ = bundle.release()
		return nil, err
	}
	return bundle, nil
}

func (b *fakeBundle) valid() error {
	seen, text := map[string]bool{}, ""
	if len(b.order.legs) > mostKeys {
		text = fmt.Sprintf("expected 1 to %d entries", mostKeys)
	}
	for _, leg := range b.order.legs {
		if seen[leg.key] {
			text = fmt.Sprintf("`%s` is there twice", leg.key)
		}
		seen[leg.key] = true
	}
	if text == "" {
		return nil
	}
	message := fmt.Sprintf("`%s`: keys: %s", b.order.key, text)
	return &RefusedError{Failure{Key: b.order.key, Code: "bad-request", Outcome: NotApplied, Status: 400, Message: message}}
}

func (b *fakeBundle) acquireAtOnce(_ context.Context, legs []leg) error {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if len(b.fake.failures) > 0 {
		err := b.fake.failures[0]
		b.fake.failures = b.fake.failures[1:]
		return err
	}
	for _, leg := range legs {
		if !b.fake.mayHave(b.orderOf(leg, 0)) {
			return b.fake.refusal(leg.key, "held")
		}
	}
	for _, leg := range legs {
		hold := &fakeHold{fake: b.fake, order: b.orderOf(leg, 0)}
		b.fake.grant(hold)
		b.add(hold)
	}
	b.isGranted = true
	return nil
}

// await acquires one key after another.
func (b *fakeBundle) await(ctx context.Context, legs []leg) error {
	patience := now().after(b.order.wait)
	waiting, cancel := context.WithCancelCause(ctx)
	b.cancel = cancel
	defer cancel(nil)
	for _, leg := range legs {
		// Above 0, so that what is over by then is a wait that timed out.
		hold, err := b.fake.openKey(waiting, b.orderOf(leg, max(patience.left(), time.Millisecond)))
		var loss *HeldError
		if errors.As(context.Cause(waiting), &loss) {
			if err == nil {
				_ = hold.release()
			}
			return loss
		}
		if err != nil {
			return err
		}
		b.fake.mu.Lock()
		b.add(hold)
		b.fake.mu.Unlock()
	}
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	for _, hold := range b.holds {
		if hold.reason != "" {
			return b.fake.refusal(hold.order.key, "held")
		}
	}
	b.isGranted = true
	return nil
}

func (b *fakeBundle) orderOf(leg leg, wait time.Duration) order {
	asked := b.order
	asked.key, asked.sharing, asked.wait, asked.legs = leg.key, leg.sharing, wait, nil
	if told := b.order.onBundleWait; told != nil {
		asked.onWait = func(position int, holder *Holder) { told(leg.key, position, holder) }
	}
	return asked
}

// add, lose and end are for the holder of the fake's mu.

func (b *fakeBundle) add(hold *fakeHold) {
	hold.onLost = func(reason Reason) { b.lose(hold, reason) }
	b.holds = append(b.holds, hold)
}

func (b *fakeBundle) lose(hold *fakeHold, reason Reason) {
	if !b.isGranted {
		b.cancel(b.fake.refusal(hold.order.key, "held"))
		return
	}
	if b.reason != "" {
		return
	}
	b.reason, b.lostKey = reason, hold.order.key
	b.signal.lose(lost(b.lostKey, reason))
	b.end()
}

func (b *fakeBundle) end() {
	for _, hold := range b.holds {
		if hold.reason == "" {
			_ = hold.end()
		}
	}
}

func (b *fakeBundle) view() (granted []lease, ends *signal) {
	for _, leg := range b.order.legs {
		for _, hold := range b.holds {
			if hold.order.key == leg.key {
				granted = append(granted, hold.lease())
			}
		}
	}
	return granted, b.signal
}

func (b *fakeBundle) lost() string {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	return b.lostKey
}

func (b *fakeBundle) isHeld() bool { return b.check() == nil }

func (b *fakeBundle) check() error {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if b.lostKey != "" {
		return lost(b.lostKey, b.reason)
	}
	for _, hold := range b.holds {
		if hold.reason != "" {
			return lost(hold.order.key, hold.reason)
		}
	}
	return nil
}

func (b *fakeBundle) release() error {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if b.lostKey != "" {
		return lost(b.lostKey, b.reason)
	}
	b.reason = Released
	b.signal.release(b.order.key)
	b.end()
	return nil
}
