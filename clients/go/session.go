package lockside

import (
	"context"
	"sync"
	"time"
)

const (
	// A sidecar writes at least every two seconds.
	longestSilence = 2500 * time.Millisecond
	// How long the reason of a loss that a release found out may be on its way.
	reasonWait = 300 * time.Millisecond
)

type state int

const (
	held state = iota
	// The release has begun.
	releasing
	// Released or lost.
	over
)

// A session is one lock, or one bundle, from acquire to release: it hears what the sidecar says, takes the hold up again where
// its connection breaks, and tells when it is lost: by the clock of this process, so also if the sidecar is silent.
type session struct {
	sidecar *sidecar
	order   order
	attempt *attempt
	leases  []lease
	signal  *signal
	// The work must have stopped so long before the end of the validity.
	margin time.Duration
	// Cancelled when the hold is not to be taken up again.
	keeping     context.Context
	stopKeeping context.CancelFunc

	once     sync.Once
	released error

	mu     sync.Mutex
	state  state
	reason Reason
	// Which key of several was lost first, where that is known.
	lostKey  string
	exchange *exchange
	// Closed when the exchange is heard no more.
	heard      chan struct{}
	alarm      *time.Timer
	validUntil moment
	// A validity that ends later is the last one.
	cap moment
	// When a sidecar that is being stopped releases it.
	leaveBy            moment
	heardAt, renewedAt moment
	isTakingUp         bool
	// A repetition is on its way.
	isSent bool
	// The hold of this connection was repeated, which may have superseded it.
	isRepeated bool
	// The sidecar says that the lock is another connection's, and the repetition is to tell whether that one is ours.
	isInDoubt bool
	hasLeft   bool
}

// openSession acquires a lock.
func openSession(ctx context.Context, sidecar *sidecar, order order) (*session, error) {
	if ctx.Err() != nil {
		return nil, cancelled(ctx, order.key)
	}
	attempt, err := newAttempt(sidecar, order)
	if err != nil {
		return nil, err
	}
	granted, err := attempt.acquire(ctx)
	if err != nil {
		return nil, err
	}
	margin := min(max(order.ttl/20, 5*time.Millisecond), time.Second)
	s := &session{sidecar: sidecar, order: order, attempt: attempt, leases: granted.leases, signal: newSignal(), margin: margin}
	s.keeping, s.stopKeeping = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarm = time.AfterFunc(forever, s.ring)
	s.cap = order.terms.cap(granted.validUntil(), order.ttl)
	s.take(granted)
	return s, nil
}

func (s *session) view() (granted []lease, ends *signal) {
	return s.leases, s.signal
}

func (s *session) lost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lostKey
}

// isHeld tells whether it may be held, for all that has been heard.
func (s *session) isHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == held
}

// check compares the clock itself: no timer or goroutine need have run.
func (s *session) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == held && s.deadline().left() <= 0 {
		s.lose(s.why(), "")
	}
	switch {
	case s.state == held:
		return nil
	case s.reason != "":
		return s.loss()
	}
	return lost(s.order.key, Released)
}

// loss is for the holder of mu.
func (s *session) loss() *LostError {
	if s.lostKey != "" {
		return lost(s.lostKey, s.reason)
	}
	return lost(s.order.key, s.reason)
}

// release releases the lock: it is free when this returns nil.
func (s *session) release() error {
	s.once.Do(func() { s.released = s.doRelease() })
	return s.released
}

func (s *session) doRelease() error {
	s.mu.Lock()
	wasLost := s.state == over
	if !wasLost {
		s.state = releasing
		s.attempt.isBrokenOff = s.isSent
	}
	s.mu.Unlock()
	// The work stops before another owner has the key.
	s.signal.release(s.order.key)
	// A hold that is just being taken up again would be a new lease after the release.
	s.stopKeeping()
	outcome := s.attempt.release(s.leases, true, min(longestRelease, s.sidecar.timeout))
	if len(outcome.lost) > 0 {
		s.hearOut()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = over
	s.leave()
	if s.reason == "" && len(outcome.lost) > 0 {
		s.reason = Expired
		if len(outcome.lost) < len(s.leases) {
			s.lostKey = outcome.lost[0]
		}
	} else if s.reason == "" {
		s.reason = Released
	}
	if wasLost || s.reason != Released {
		return s.loss()
	}
	if !outcome.isConfirmed {
		failure := s.attempt.failure(nil, "the release is not confirmed; the lock ends with its lease at the latest")
		failure.Outcome = Unknown
		return &UnknownOutcomeError{failure}
	}
	return nil
}

// hearOut waits for the line that says why it was lost.
func (s *session) hearOut() {
	s.mu.Lock()
	heard := s.heard
	s.mu.Unlock()
	timer := time.NewTimer(reasonWait)
	defer timer.Stop()
	select {
	case <-heard:
	case <-timer.C:
	}
}

// The rest is for the holder of mu, but for the goroutines that run on their own: listen, takeUpAgain, ring.

// end is when another owner may have the key.
func (s *session) end() moment {
	return min(s.validUntil, s.leaveBy)
}

// deadline is when the work must have stopped.
func (s *session) deadline() moment {
	return s.end() - moment(s.margin)
}

func (s *session) take(granted *grant) {
	if s.exchange != nil {
		s.exchange.close()
	}
	s.exchange, s.heard = granted.exchange, make(chan struct{})
	s.validUntil, s.leaveBy = granted.validUntil(), never
	s.heardAt = now()
	s.renewedAt = s.heardAt
	s.isRepeated = false
	s.plan()
	go s.listen(s.exchange, s.heard)
}

// plan sets the alarm to the deadline.
func (s *session) plan() {
	if s.state == held {
		s.alarm.Reset(max(s.deadline().left(), 0))
	}
}

func (s *session) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == over:
		s.leave()
	case s.state == held && s.deadline().left() <= 0:
		s.lose(s.why(), "")
	default:
		s.plan()
	}
}

// why is what kept the lease from being renewed.
func (s *session) why() Reason {
	switch {
	case s.leaveBy < s.validUntil:
		return Draining
	case s.validUntil >= s.cap:
		return MaxHold
	case s.exchange == nil || -s.heardAt.left() > longestSilence:
		return Sidecar
	case s.heardAt > s.renewedAt:
		return Redis
	}
	return Expired
}

// hearLoss hears the sidecar tell of a loss. Where it comes during a release that says why, unless it may be our own doing: the
// lease has ended by the release, which another sidecar got, or a repetition superseded it. Then the answer to the release
// decides.
func (s *session) hearLoss(reason Reason, key string) {
	isByUs := reason == Expired || reason == Superseded && s.isRepeated
	if s.state == releasing && s.reason == "" && !isByUs {
		s.reason, s.lostKey = reason, key
	}
	s.lose(reason, key)
}

// loseWith ends it by the loss of this key, which a repetition found: no sidecar releases the others at once.
func (s *session) loseWith(reason Reason, key string) {
	wasHeld := s.state == held
	s.lose(reason, key)
	if others := without(s.leases, key); wasHeld && len(others) > 0 {
		go s.attempt.release(others, false, min(longestRelease, s.sidecar.timeout))
	}
}

// lose ends it, by the loss of this key where that is known.
func (s *session) lose(reason Reason, key string) {
	if s.state != held {
		return
	}
	s.state, s.reason, s.lostKey = over, reason, key
	// The connection is kept while the lease may last, since the work is yet to stop, and no longer: a sidecar that can renew
	// again would keep the key for a holder that has gone.
	s.alarm.Reset(max(s.end().left(), 0))
	s.signal.lose(s.loss())
}

// leave ends the connection.
func (s *session) leave() {
	s.hasLeft = true
	s.alarm.Stop()
	s.stopKeeping()
	if s.exchange != nil {
		s.exchange.close()
		s.exchange = nil
	}
}
