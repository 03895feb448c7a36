package lockside

import (
	"context"
	"fmt"
	"sync"
)

// A Fake is a lockside in memory, for the tests of an application: hand its Client to the code under test. Its locks are the
// same as those of a sidecar. Keys are granted first come, first served, shared or not, tokens rise, and nothing expires.
// A lock with a minimum or a rest leaves its key resting when it is released, until [Fake.Free].
type Fake struct {
	*Client

	mu    sync.Mutex
	token int64
	// Who has a key, oldest grant first.
	holders  map[string][]*fakeHold
	queues   map[string][]*fakeHold
	failures []error
	acquired []string
	leaders  map[string]*Leader
	watches  map[*fakeWatch]struct{}
}

// NewFake makes a fake where every key is free.
func NewFake() *Fake {
	fake := &Fake{
		holders: map[string][]*fakeHold{}, queues: map[string][]*fakeHold{}, leaders: map[string]*Leader{},
		watches: map[*fakeWatch]struct{}{},
	}
	fake.Client = &Client{open: fake.open, elections: fake, follow: fake.follow}
	return fake
}

// Hold lets another owner hold a key that is free, until [Fake.Free]; with [WithShared] or [WithLimit] also one that is shared.
func (f *Fake) Hold(key, owner string, options ...Option) {
	order, err := f.order(key, append(options[:len(options):len(options)], WithOwner(owner)))
	if err != nil {
		panic("the fake: " + err.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mayHave(order) {
		panic(fmt.Sprintf("the fake: `%s` is held", key))
	}
	f.grant(&fakeHold{fake: f, order: order})
}

// Free releases a key, as its holder does, who may be the code under test, or ends its rest. The first in the queue gets it. Of
// those who share it the oldest does.
func (f *Fake) Free(key string) {
	f.holdings(key)[0].free()
}

// Lose has the holder of a key lose it, or all who share it; a bundle loses its other keys, too. When it returns, their signals of
// loss have been given.
func (f *Fake) Lose(key string, reason Reason) {
	for _, hold := range f.holdings(key) {
		hold.lose(reason)
	}
}

// Fail has the next acquire fail with this error, such as &UnavailableError{}.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

// Holder is who holds a key, the oldest of those who share it; nil if it is free.
func (f *Fake) Holder(key string) *Holder {
	if holders := f.Holders(key); len(holders) > 0 {
		return holders[0]
	}
	return nil
}

// Holders are those who share a key, oldest grant first.
func (f *Fake) Holders(key string) []*Holder {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.views(key)
}

// Waiters is how many wait for a key.
func (f *Fake) Waiters(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queues[key])
}

// Acquired has the keys that were acquired, in the order of their grants.
func (f *Fake) Acquired() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.acquired...)
}

func (f *Fake) holdings(key string) []*fakeHold {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.holders[key]) == 0 {
		panic(fmt.Sprintf("the fake: `%s` is free", key))
	}
	return append([]*fakeHold(nil), f.holders[key]...)
}

func (f *Fake) open(ctx context.Context, order order) (holding, error) {
	if ctx.Err() != nil {
		return nil, cancelled(ctx, order.key)
	}
	if order.legs != nil {
		return f.openBundle(ctx, order)
	}
	hold, err := f.openKey(ctx, order)
	if err != nil {
		return nil, err
	}
	return hold, nil
}

func (f *Fake) openKey(ctx context.Context, order order) (*fakeHold, error) {
	hold := &fakeHold{fake: f, order: order}
	isGranted, err := f.begin(hold)
	if err != nil {
		return nil, err
	}
	if !isGranted {
		if err = hold.await(ctx); err != nil {
			return nil, err
		}
	}
	return hold, nil
}

// begin grants the key, enters the queue for it, or refuses.
func (f *Fake) begin(hold *fakeHold) (isGranted bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := hold.order.key
	switch {
	case len(f.failures) > 0:
		err, f.failures = f.failures[0], f.failures[1:]
		return false, err
	case f.mayHave(hold.order):
		f.grant(hold)
		return true, nil
	case hold.order.wait == 0:
		return false, f.refusal(key, "held")
	}
	hold.granted = make(chan struct{})
	f.queues[key] = append(f.queues[key], hold)
	f.tellWaiters(key)
	return false, nil
}

// What follows is for the holder of mu.

// mayHave tells whether those who have the key, and those who wait for it, let it be granted.
func (f *Fake) mayHave(order order) bool {
	return len(f.queues[order.key]) == 0 && f.fits(order)
}

func (f *Fake) fits(order order) bool {
	holders, limit := f.holders[order.key], order.sharing.limit
	if limit == 0 {
		limit = mostSharers
	}
	if len(holders) == 0 {
		return true
	}
	return order.sharing.isShared && holders[0].order.sharing.isShared && len(holders) < limit
}

func (f *Fake) grant(hold *fakeHold) {
	f.token++
	hold.token, hold.signal = f.token, newSignal()
	key := hold.order.key
	f.holders[key] = append(f.holders[key], hold)
	f.acquired = append(f.acquired, key)
	f.tell(Event{Type: EventGranted, Key: key, Token: hold.token, Holder: hold.holder(), Waiters: len(f.queues[key])})
	if hold.granted != nil {
		close(hold.granted)
	}
}

// end ends a hold, or its rest, and serves the queue.
func (f *Fake) end(hold *fakeHold) {
	f.tellEnd(hold)
	key := hold.order.key
	var others []*fakeHold
	for _, other := range f.holders[key] {
		if other != hold {
			others = append(others, other)
		}
	}
	f.holders[key] = others
	if len(others) == 0 {
		delete(f.holders, key)
	}
	f.serve(key)
}

// serve grants the key to those in the queue that may have it, none before one that came earlier.
func (f *Fake) serve(key string) {
	for queue := f.queues[key]; len(queue) > 0 && f.fits(queue[0].order); queue = f.queues[key] {
		f.queues[key] = queue[1:]
		f.grant(queue[0])
	}
}

// leave takes a hold out of the queue; false: it was granted before.
func (f *Fake) leave(hold *fakeHold) bool {
	key := hold.order.key
	queue := f.queues[key]
	for place, other := range queue {
		if other == hold {
			f.queues[key] = append(queue[:place:place], queue[place+1:]...)
			f.tellWaiters(key)
			f.serve(key)
			return true
		}
	}
	return false
}

func (f *Fake) views(key string) (views []*Holder) {
	for _, hold := range f.holders[key] {
		views = append(views, hold.holder())
	}
	return views
}

func (f *Fake) refusal(key, code string) error {
	holders := f.views(key)
	failure := Failure{Key: key, Code: code, Outcome: NotApplied, Status: 409, Message: fmt.Sprintf("`%s` is held", key)}
	held := &HeldError{Failure: failure, Waiters: len(f.queues[key]), State: f.state(key)}
	if len(holders) > 0 {
		held.Holder = holders[0]
		if held.Holder.Mode == Shared {
			held.Mode, held.SharedBy = Shared, len(holders)
		}
	}
	held.explain()
	return held
}

// state is how a key is taken.
func (f *Fake) state(key string) State {
	if holders := f.holders[key]; len(holders) > 0 {
		return stateOf(holders)
	}
	return Held
}
