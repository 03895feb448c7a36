package lockside

import (
	"context"
	"sort"
	"strings"
)

// A fakeWatch is one who watches a fake. What changes is under the fake's mu.
type fakeWatch struct {
	course *course
	events []Event
	// Has room for one: something was told.
	wake chan struct{}
}

// Gap has those who watch be told that changes may have been missed, and then the state.
func (f *Fake) Gap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for watch := range f.watches {
		watch.put(Event{Type: EventGap})
		f.tellStates(watch)
	}
}

func (f *Fake) follow(ctx context.Context, course *course, tell func(Event) bool) error {
	watch := &fakeWatch{course: course, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	f.watches[watch] = struct{}{}
	f.tellStates(watch)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watches, watch)
	}()
	for {
		select {
		case <-watch.wake:
		case <-ctx.Done():
			return done(ctx, "stopped watching", course.name)
		}
		f.mu.Lock()
		events := watch.events
		watch.events = nil
		f.mu.Unlock()
		for _, event := range events {
			if !tell(event) {
				return done(ctx, "stopped watching", course.name)
			}
		}
	}
}

// What follows is for the holder of mu.

func (w *fakeWatch) put(event Event) {
	w.events = append(w.events, event)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *fakeWatch) covers(key string) bool {
	if w.course.isKey {
		return key == w.course.name
	}
	return strings.HasPrefix(key, w.course.name)
}

func (f *Fake) tell(event Event) {
	for watch := range f.watches {
		if watch.covers(event.Key) {
			watch.put(event)
		}
	}
}

func (f *Fake) tellWaiters(key string) {
	holders := f.holders[key]
	f.tell(Event{Type: EventWaiting, Key: key, Token: holders[len(holders)-1].token, Waiters: len(f.queues[key])})
}

func (f *Fake) tellStates(watch *fakeWatch) {
	keys := make([]string, 0, len(f.holders))
	for key := range f.holders {
		if watch.covers(key) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		holders := f.views(key)
		event := Event{Type: EventState, Key: key, State: f.state(key), Holder: holders[0], Waiters: len(f.queues[key])}
		event.Token = holders[len(holders)-1].Token
		if event.Holder.Mode == Shared {
			event.Mode, event.SharedBy, event.Holders = Shared, len(holders), holders
		}
		watch.put(event)
	}
	if watch.course.isKey && len(keys) == 0 {
		watch.put(Event{Type: EventState, Key: watch.course.name, State: Free})
	}
	watch.put(Event{Type: EventSynced})
}

// tellEnd tells of the end of a hold, or of its rest.
func (f *Fake) tellEnd(hold *fakeHold) {
	event := Event{Type: EventExpired, Key: hold.order.key, Token: hold.token}
	switch {
	case hold.reason == Forced:
		event.Type = EventForced
	case hold.reason == Released && !hold.isResting():
		event.Type = EventReleased
	}
	f.tell(event)
}

// tellRest tells of a release that leaves the key resting.
func (f *Fake) tellRest(hold *fakeHold) {
	key := hold.order.key
	f.tell(Event{Type: EventReleased, Key: key, Token: hold.token, State: Resting, Holder: hold.holder()})
}
