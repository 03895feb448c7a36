package lockside

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Fake is a lockside in memory, for the tests of an application: hand its Client to the code under test. Its locks are the
// same as those of a sidecar. Keys are granted first come, first served, tokens rise, and nothing expires.
// A lock with a minimum or a rest leaves its key resting when it is released, until [Fake.Free].
type Fake struct {
	*Client

	mu       sync.Mutex
	token    int64
	holders  map[string]*fakeHold
	queues   map[string][]*fakeHold
	failures []error
	acquired []string
	leaders  map[string]*Leader
	watches  map[*fakeWatch]struct{}
}

// NewFake makes a fake where every key is free.
func NewFake() *Fake {
	fake := &Fake{
		holders: map[string]*fakeHold{}, queues: map[string][]*fakeHold{}, leaders: map[string]*Leader{},
		watches: map[*fakeWatch]struct{}{},
	}
	fake.Client = &Client{open: fake.open, elections: fake, follow: fake.follow}
	return fake
}

// Hold lets another owner hold a key that is free, until [Fake.Free].
func (f *Fake) Hold(key, owner string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holders[key] != nil {
		panic(fmt.Sprintf("the fake: `%s` is held", key))
	}
	f.grant(&fakeHold{fake: f, order: order{key: key, owner: owner}})
}

// Free releases a key, as its holder does, who may be the code under test, or ends its rest. The first in the queue gets it.
func (f *Fake) Free(key string) {
	f.holding(key).free()
}

// Lose has the holder of a key lose it. When it returns, the holder's signals of loss have been given.
func (f *Fake) Lose(key string, reason Reason) {
	f.holding(key).lose(reason)
}

// Fail has the next acquire fail with this error, such as &UnavailableError{}.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

// Holder is who holds a key; nil if it is free.
func (f *Fake) Holder(key string) *Holder {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holder(key)
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

func (f *Fake) holding(key string) *fakeHold {
	f.mu.Lock()
	defer f.mu.Unlock()
	holder := f.holders[key]
	if holder == nil {
		panic(fmt.Sprintf("the fake: `%s` is free", key))
	}
	return holder
}

func (f *Fake) open(ctx context.Context, order order) (holding, error) {
	if ctx.Err() != nil {
		return nil, cancelled(ctx, order.key)
	}
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
	case f.holders[key] == nil:
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

func (f *Fake) grant(hold *fakeHold) {
	f.token++
	hold.token, hold.signal = f.token, newSignal()
	f.holders[hold.order.key] = hold
	f.acquired = append(f.acquired, hold.order.key)
	key := hold.order.key
	f.tell(Event{Type: EventGranted, Key: key, Token: hold.token, Holder: f.holder(key), Waiters: len(f.queues[key])})
	if hold.granted != nil {
		close(hold.granted)
	}
}

// next grants a key that has become free.
func (f *Fake) next(key string) {
	f.tellEnd(f.holders[key])
	delete(f.holders, key)
	if queue := f.queues[key]; len(queue) > 0 {
		f.queues[key] = queue[1:]
		f.grant(queue[0])
	}
}

// leave takes a hold out of the queue; false: it was granted before.
func (f *Fake) leave(hold *fakeHold) bool {
	queue := f.queues[hold.order.key]
	for place, other := range queue {
		if other == hold {
			f.queues[hold.order.key] = append(queue[:place:place], queue[place+1:]...)
			f.tellWaiters(hold.order.key)
			return true
		}
	}
	return false
}

func (f *Fake) holder(key string) *Holder {
	hold := f.holders[key]
	if hold == nil {
		return nil
	}
	return &Holder{
		Owner: hold.order.owner, Kind: "system", Token: hold.token, Since: time.Now(), ValidFor: hold.order.ttl, Meta: hold.order.meta,
	}
}

func (f *Fake) refusal(key, code string) error {
	hold, state := f.holders[key], Held
	message := fmt.Sprintf("`%s` is held by %s", key, hold.order.owner)
	if hold.isResting() {
		state, message = Resting, fmt.Sprintf("`%s` was released by %s and rests", key, hold.order.owner)
	}
	failure := Failure{Key: key, Code: code, Outcome: NotApplied, Status: 409, Message: message}
	return &HeldError{failure, f.holder(key), len(f.queues[key]), state}
}
