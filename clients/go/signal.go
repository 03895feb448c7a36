package lockside

import (
	"context"
	"sync"
)

// A signal tells the end of a lock: to a channel if it was lost, and to the contexts of the work in any case. It knows
// nothing of the Lock, which may be forgotten while a context of it lives.
type signal struct {
	lost chan struct{}

	mu      sync.Mutex
	end     *LostError
	next    int
	cancels map[int]context.CancelCauseFunc
}

func newSignal() *signal {
	return &signal{lost: make(chan struct{}), cancels: map[int]context.CancelCauseFunc{}}
}

// context is cancelled at the end of the lock.
func (s *signal) context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		cancel(s.end)
		return ctx, func() {}
	}
	number := s.next
	s.next++
	s.cancels[number] = cancel
	return ctx, func() {
		s.mu.Lock()
		delete(s.cancels, number)
		s.mu.Unlock()
		cancel(nil)
	}
}

// lose and release end it; what comes first stays.
func (s *signal) lose(why *LostError) {
	if s.finish(why) {
		close(s.lost)
	}
}

func (s *signal) release(key string) {
	s.finish(lost(key, Released))
}

func (s *signal) finish(why *LostError) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return false
	}
	s.end = why
	for _, cancel := range s.cancels {
		cancel(why)
	}
	s.cancels = nil
	return true
}
