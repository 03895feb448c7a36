package lockside

import (
	"errors"
	"time"
)

// An event is a line of a hold.
type event struct {
	Event string `json:"event"`
	leaseView
	Leases     []leaseView `json:"leases"`
	ValidForMs float64     `json:"validForMs"`
	GraceMs    float64     `json:"graceMs"`
	Reason     Reason      `json:"reason"`
	Position   int         `json:"position"`
	Holder     *holderView `json:"holder"`
}

// A leaseView is a lease as the sidecar writes it.
type leaseView struct {
	Key   string `json:"key"`
	Token int64  `json:"token"`
	Owner string `json:"owner"`
	Mode  Mode   `json:"mode"`
	Limit int    `json:"limit"`
}

func (v leaseView) lease(validUntil moment) lease {
	granted := lease{v.Key, v.Token, v.Owner, v.Mode, v.Limit, validUntil}
	if granted.mode == "" {
		granted.mode = Exclusive
	}
	return granted
}

// listen hears a connection for as long as it is the one that holds the lock.
func (s *session) listen(exchange *exchange, heard chan struct{}) {
	defer close(heard)
	for {
		text, err := exchange.line(now().after(time.Second))
		var said event
		if err == nil {
			err = text.decode(&said)
		}
		if errors.Is(err, errSilent) {
			// The alarm of a machine that slept is late.
			_ = s.check()
			continue
		}
		if !s.hear(exchange, said, text.since, err) {
			return
		}
	}
}

// hear tells whether there may be more to hear.
func (s *session) hear(exchange *exchange, said event, since moment, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exchange != exchange {
		return false
	}
	// Of two connections the one that was told of the lease last holds it, and the other one is superseded. So it may be by
	// our own repetition, whose answer tells.
	if err == nil && said.Event == "lost" && said.Reason == Superseded && s.isSent {
		s.isInDoubt, err = true, errClosed
	}
	if err != nil {
		exchange.close()
		s.exchange = nil
		s.takeUp()
		return false
	}
	if s.state == over {
		return true
	}
	s.heardAt = now()
	validUntil := since.after(milliseconds(said.ValidForMs))
	switch said.Event {
	case "renewed":
		s.validUntil, s.renewedAt = validUntil, s.heardAt
	case "ping":
		// Its owner may have shortened it by its token.
		if s.heardAt.after(milliseconds(said.ValidForMs)) < s.validUntil {
			s.validUntil = validUntil
		}
	case "draining":
		grace := milliseconds(said.GraceMs)
		s.leaveBy = since.after(grace - min(grace/10, time.Second))
		s.takeUp()
	case "lost":
		s.hearLoss(said.Reason, said.Key)
	case "released":
		s.lose(Released, said.Key)
	}
	s.plan()
	return true
}

// takeUp begins to take the hold up again.
func (s *session) takeUp() {
	if s.state == held && !s.isTakingUp {
		s.isTakingUp = true
		go s.takeUpAgain()
	}
}

// takeUpAgain repeats the hold under its Idempotency-Key, at the same or at the next sidecar, until one has it or its time is
// up.
func (s *session) takeUpAgain() {
	for {
		s.mu.Lock()
		s.isTakingUp = s.state == held && (s.exchange == nil || s.leaveBy < never)
		s.isSent = s.isTakingUp
		s.isRepeated = s.isRepeated || s.isSent
		isTakingUp, until := s.isTakingUp, s.end()
		s.mu.Unlock()
		if !isTakingUp {
			return
		}
		// An answer is waited for as long as there is time: a repetition that was told of the lease and is then broken off
		// would release it.
		granted, err := s.attempt.send(s.keeping, 0, until.left(), until)
		if unwanted := s.settle(granted, err); unwanted != nil {
			s.attempt.giveBack(unwanted)
		}
		pause(s.keeping, shortPause)
	}
}

// settle takes what a repetition brought. It returns a lease that is not this one.
func (s *session) settle(granted *grant, err error) (unwanted *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	isInDoubt := s.isInDoubt
	s.isSent, s.isInDoubt = false, false
	var other *HeldError
	var refused *RefusedError
	switch {
	case err == nil && otherKey(s.leases, granted.leases) != "":
		s.lose(Expired, otherKey(s.leases, granted.leases))
		return granted
	case err == nil && s.state == held:
		s.take(granted)
	case err == nil && s.state == over && s.exchange == nil && !s.hasLeft:
		// Lost meanwhile: it is kept while the work may yet be stopping.
		s.exchange = granted.exchange
	case err == nil:
		granted.exchange.close()
	case isInDoubt:
		s.lose(Superseded, "")
	case errors.As(err, &other):
		// Of those who share a key its holder is any, which says nothing of our lease. That would have been told again.
		isAmongOthers := s.attempt.claim.shares(other.Key) && other.Mode == Shared
		if !isAmongOthers && (other.Holder == nil || other.Holder.Token != tokenOf(s.leases, other.Key)) {
			s.loseWith(Superseded, other.Key)
		} else if s.exchange == nil && (isAmongOthers || s.order.terms.outlast()) {
			// The sidecar met the end of the connection first, and the key stays taken for no longer than the terms say.
			s.loseWith(Expired, other.Key)
		}
	case errors.As(err, &refused):
		if s.exchange == nil && (refused.Status == 401 || refused.Status == 403) {
			s.lose(Unauthorized, "")
		}
	}
	return nil
}
