package lockside

import (
	"context"
	"time"
)

// A fakeHold is one lock of a fake, from acquire to release. What changes is under the fake's mu.
type fakeHold struct {
	fake  *Fake
	order order
	// Closed when it is granted, if it had to wait.
	granted    chan struct{}
	token      int64
	signal     *signal
	reason     Reason
	isReleased bool
	// Called when it is lost, under the fake's mu, before another owner has the key.
	onLost func(reason Reason)
}

// await waits in the queue.
func (h *fakeHold) await(ctx context.Context) error {
	if h.order.onWait != nil {
		h.order.onWait(h.fake.Waiters(h.order.key), h.fake.Holder(h.order.key))
	}
	timer := time.NewTimer(h.order.wait)
	defer timer.Stop()
	select {
	case <-h.granted:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	hasLeft := h.fake.leave(h)
	switch {
	case ctx.Err() != nil:
		if !hasLeft {
			h.fake.end(h)
		}
		return cancelled(ctx, h.order.key)
	case hasLeft:
		return h.fake.refusal(h.order.key, "wait-timeout")
	}
	return nil
}

func (h *fakeHold) view() (granted []lease, ends *signal) {
	return []lease{h.lease()}, h.signal
}

func (h *fakeHold) lease() lease {
	return lease{h.order.key, h.token, h.order.owner, h.order.sharing.mode(), h.order.sharing.limit, never}
}

func (h *fakeHold) lost() string { return "" }

// holder is for the holder of the fake's mu.
func (h *fakeHold) holder() *Holder {
	holder := &Holder{
		Owner: h.order.owner, Kind: "system", Token: h.token, Since: time.Now(), ValidFor: h.order.ttl, Meta: h.order.meta,
		Mode: h.order.sharing.mode(), Limit: h.order.sharing.limit,
	}
	if holder.Mode == Shared {
		holder.State = stateOf([]*fakeHold{h})
	}
	return holder
}

// stateOf is how a key is taken: where it is shared it rests if all of them do.
func stateOf(holds []*fakeHold) State {
	for _, hold := range holds {
		if !hold.isResting() {
			return Held
		}
	}
	return Resting
}

func (h *fakeHold) isHeld() bool {
	return h.check() == nil
}

func (h *fakeHold) check() error {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if h.reason == "" {
		return nil
	}
	return lost(h.order.key, h.reason)
}

func (h *fakeHold) release() error {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	return h.end()
}

// end releases it, for the holder of the fake's mu.
func (h *fakeHold) end() error {
	if h.isReleased {
		return nil
	}
	if h.reason != "" {
		return lost(h.order.key, h.reason)
	}
	h.reason, h.isReleased = Released, true
	h.signal.release(h.order.key)
	if h.isResting() {
		h.fake.tellRest(h)
	} else {
		h.fake.end(h)
	}
	return nil
}

// isResting is for the holder of the fake's mu.
func (h *fakeHold) isResting() bool {
	return h.isReleased && h.order.terms.leaveARest()
}

// free releases it, or ends its rest.
func (h *fakeHold) free() {
	h.fake.mu.Lock()
	isResting := h.isResting()
	if isResting {
		h.fake.end(h)
	}
	h.fake.mu.Unlock()
	if !isResting {
		_ = h.release()
	}
}

func (h *fakeHold) lose(reason Reason) {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if h.reason != "" {
		return
	}
	h.reason = reason
	// The loss is told before another owner has the key.
	h.signal.lose(lost(h.order.key, reason))
	if h.onLost != nil {
		h.onLost(reason)
	}
	h.fake.end(h)
}
