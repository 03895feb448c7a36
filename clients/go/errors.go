package lockside

import (
	"errors"
	"fmt"
	"time"
)

// What [errors.Is] finds in an error; [errors.As] finds the type with the details.
var (
	// ErrHeld is in a [*HeldError]: another owner holds the lock, and it was not free in time.
	ErrHeld = errors.New("the lock is held")
	// ErrUnavailable is in an [*UnavailableError]: the lock cannot be had now, and nothing was done.
	ErrUnavailable = errors.New("lockside is unavailable")
	// ErrUnknownOutcome is in an [*UnknownOutcomeError]: there was no answer, also to repetitions.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
	// ErrRefused is in a [*RefusedError]: the request is not valid, or not allowed.
	ErrRefused = errors.New("the request was refused")
	// ErrLost is in a [*LostError]: the lock is not held any more.
	ErrLost = errors.New("the lock was lost")
)

// An Outcome says whether what was asked for was done.
type Outcome string

const (
	// NotApplied: nothing was done.
	NotApplied Outcome = "not-applied"
	// Applied: it was done.
	Applied Outcome = "applied"
	// Unknown: it may have been done.
	Unknown Outcome = "unknown"
)

// A Failure is what the errors of this package share. [errors.As] finds it in each of them.
type Failure struct {
	// Key is the lock's.
	Key string
	// Code is the sidecar's, such as "held" or "redis-unavailable"; empty where it gave none.
	Code string
	// Outcome says whether it was done.
	Outcome Outcome
	// Status is the HTTP status; 0 where there was no answer.
	Status int
	// RequestID finds the request in the sidecar's log.
	RequestID string
	// RetryAfter is when to try again, by the sidecar's word; 0 where it gave none.
	RetryAfter time.Duration
	// Message says what happened.
	Message string

	cause error
}

func (f *Failure) Error() string {
	if f.Message == "" {
		return "lockside: failed " + f.Code
	}
	return "lockside: " + f.Message
}

// Unwrap returns the error of the system below this one, if any.
func (f *Failure) Unwrap() error { return f.cause }

// As makes errors.As find the failure in an error that has one.
func (f *Failure) As(target any) bool {
	into, ok := target.(**Failure)
	if ok {
		*into = f
	}
	return ok
}

func isFailure(err error) bool {
	var failure *Failure
	return errors.As(err, &failure)
}

// A HeldError says that another owner holds the lock, and that it was not free in time: skip the work, or try again.
type HeldError struct {
	Failure
	// Holder is who holds it; nil if that is not known.
	Holder *Holder
	// Waiters is how many wait for it.
	Waiters int
	// State is how it is taken; empty where the sidecar did not say.
	State State
	// Mode is [Shared] where others share it, else empty. SharedBy is how many they are, and Holder one of them.
	Mode     Mode
	SharedBy int
}

// A State is how a key is taken.
type State string

const (
	// Held by its holder.
	Held State = "held"
	// Resting: its holder has released it, and its terms keep it taken, see [WithMinHold] and [WithRest].
	Resting State = "resting"
	// Free: it has no holder. Only a [Watch] tells of it.
	Free State = "free"
)

// Is makes errors.Is find [ErrHeld].
func (*HeldError) Is(target error) bool { return target == ErrHeld }

// An UnavailableError says that the sidecar is not there, or that its Redis cannot do it now. Nothing was done: try again
// later.
type UnavailableError struct{ Failure }

// Is makes errors.Is find [ErrUnavailable].
func (*UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// An UnknownOutcomeError says that there was no answer, also to repetitions. From an acquire: a lock that was granted so is
// rolled back by the sidecar. From a release: the lock ends with its connection, or with its lease at the latest.
type UnknownOutcomeError struct{ Failure }

// Is makes errors.Is find [ErrUnknownOutcome].
func (*UnknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// A RefusedError says that the request is not valid, or not allowed: repeating it does not help.
type RefusedError struct{ Failure }

// Is makes errors.Is find [ErrRefused].
func (*RefusedError) Is(target error) bool { return target == ErrRefused }

// A LostError says that the lock is not held any more: stop the work.
type LostError struct {
	Failure
	// Reason is why.
	Reason Reason
}

// Is makes errors.Is find [ErrLost].
func (*LostError) Is(target error) bool { return target == ErrLost }

// A Reason is why a lock was lost.
type Reason string

const (
	// Expired: the lease ended.
	Expired Reason = "expired"
	// Forced: an operator force-released it.
	Forced Reason = "forced"
	// Superseded: another owner has the key.
	Superseded Reason = "superseded"
	// MaxHold: it was held for as long as [WithMaxHold] or the sidecar's --max-hold let it.
	MaxHold Reason = "max-hold"
	// Redis did not renew it in time.
	Redis Reason = "redis"
	// Sidecar: the sidecar is gone or frozen, and did not come back in time.
	Sidecar Reason = "sidecar"
	// Draining: the sidecar is being stopped, and the work took longer than its --shutdown-grace.
	Draining Reason = "draining"
	// Unauthorized: the credential is no longer valid.
	Unauthorized Reason = "unauthorized"
	// Released: by its token, or by Release.
	Released Reason = "released"
)

func lost(key string, reason Reason) *LostError {
	message := fmt.Sprintf("the lock `%s` was lost: %s", key, reason)
	return &LostError{Failure{Key: key, Code: "lost", Outcome: Applied, Message: message}, reason}
}
