package lockside

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	// How long one request waits; a longer wait is made of several.
	longestWait = 10 * time.Minute
	// Between two tries.
	shortPause = 100 * time.Millisecond
	// A wait that is this short is not begun.
	leastWait = 20 * time.Millisecond
)

// An order is what is asked for. Its key is all keys of a bundle, for messages. Its wait is forever where it is bounded by the
// context alone.
type order struct {
	key     string
	ttl     time.Duration
	wait    time.Duration
	owner   string
	meta    json.RawMessage
	terms   terms
	sharing sharing
	onWait  func(position int, holder *Holder)
	// Of a bundle.
	legs         []leg
	onBundleWait func(key string, position int, holder *Holder)
}

const forever = time.Duration(math.MaxInt64)

// A lease is what was granted of one key.
type lease struct {
	key        string
	token      int64
	owner      string
	mode       Mode
	limit      int
	validUntil moment
}

// A grant is the leases, which end together, and the connection that holds them.
type grant struct {
	leases   []lease
	exchange *exchange
}

func (g *grant) validUntil() moment {
	until := never
	for _, lease := range g.leases {
		until = min(until, lease.validUntil)
	}
	return until
}

// An attempt to acquire a key has one Idempotency-Key and one owner, and is sent as often as it takes to know its outcome.
type attempt struct {
	sidecar *sidecar
	order   order
	claim   claim
	name    string
	// A repetition was broken off by the release: the sidecar rolls back what it told of.
	isBrokenOff bool
}

func newAttempt(sidecar *sidecar, order order) (*attempt, error) {
	var name [16]byte
	if _, err := rand.Read(name[:]); err != nil {
		return nil, err
	}
	return &attempt{sidecar: sidecar, order: order, claim: order.claim(), name: hex.EncodeToString(name[:])}, nil
}

// acquire sends the attempt until it is granted, refused, or its time has passed.
func (a *attempt) acquire(ctx context.Context) (*grant, error) {
	start := now()
	patience := start.after(a.order.wait)
	// An unknown outcome is asked for again for a while, also where nothing was to be waited for.
	asking := max(patience, start.after(a.sidecar.timeout))
	longest := longestWait
	var unknown *UnknownOutcomeError
	for {
		wait := min(max(patience.left(), 0), longest)
		granted, err := a.send(ctx, wait, a.sidecar.timeout, never)
		if ctx.Err() != nil {
			if err == nil {
				a.giveBack(granted)
			}
			return nil, cancelled(ctx, a.order.key)
		}
		if err == nil {
			return granted, nil
		}
		span, until := shortPause, patience
		switch failure := err.(type) {
		case *HeldError:
			unknown = nil
			span = 0
			if failure.Code != "wait-timeout" {
				span = retryAfter(failure.RetryAfter, time.Second)
			}
		case *UnknownOutcomeError:
			if unknown == nil {
				unknown = failure
			}
			err, until = unknown, asking
		case *UnavailableError:
			span = retryAfter(failure.RetryAfter, shortPause)
			if unknown != nil {
				err, until = unknown, asking
			}
		case *RefusedError:
			// The sidecar's --max-wait may be shorter.
			isAboutWait := strings.HasPrefix(failure.Message, fmt.Sprintf("`%s`: waitMs", a.order.key))
			if !isAboutWait || wait <= time.Second {
				return nil, err
			}
			longest, span = wait/2, 0
		default:
			return nil, err
		}
		left := until.left()
		if left < leastWait {
			return nil, err
		}
		pause(ctx, min(span, left))
	}
}

func retryAfter(said, otherwise time.Duration) time.Duration {
	if said > 0 {
		return said
	}
	return otherwise
}

// send sends it once. The sidecar may be silent for so long, and must have granted it before until.
func (a *attempt) send(ctx context.Context, wait, silence time.Duration, until moment) (*grant, error) {
	headers, err := a.sidecar.headers()
	if err != nil {
		return nil, &RefusedError{a.failure(err, "the token file: %v", err)}
	}
	headers["Content-Type"] = "application/json"
	headers["Idempotency-Key"] = a.name
	content, err := a.content(wait)
	if err != nil {
		return nil, err
	}
	exchange, err := dial(ctx, a.sidecar.address, a.sidecar.tls, min(now().after(silence), until), a.order.ttl/10)
	if err != nil {
		return nil, &UnavailableError{a.failure(err, "cannot connect to lockside at %v: %v; is it running?", a.sidecar.address, err)}
	}
	stop := context.AfterFunc(ctx, exchange.close)
	defer stop()
	if err = exchange.send("POST", a.claim.path()+"/hold", headers, content, min(now().after(silence), until)); err == nil {
		var granted *grant
		if granted, err = a.listen(exchange, silence, until); err == nil {
			return granted, nil
		}
	}
	exchange.close()
	if isFailure(err) {
		return nil, err
	}
	failure := a.failure(err, "no answer from lockside at %v: %v", a.sidecar.address, err)
	failure.Outcome = Unknown
	return nil, &UnknownOutcomeError{failure}
}

func (a *attempt) content(wait time.Duration) ([]byte, error) {
	body := acquireBody{TTLMs: rounded(a.order.ttl), Owner: a.order.owner, Meta: a.order.meta}
	a.claim.describe(&body)
	if wait > 0 {
		body.WaitMs, body.Progress = (wait + time.Millisecond - 1).Milliseconds(), true
	}
	return json.Marshal(body)
}

// listen hears the answer up to the grant. Lines that came with it stay for the session.
func (a *attempt) listen(exchange *exchange, silence time.Duration, until moment) (*grant, error) {
	status, header, err := exchange.head(min(now().after(silence), until))
	if err != nil {
		return nil, err
	}
	if status != 200 {
		var answer problem
		_ = json.Unmarshal(exchange.rest(min(now().after(silence), until)), &answer)
		answer.Status = status
		return nil, answer.failure(a.order.key, header.Get("Retry-After"))
	}
	for {
		text, err := exchange.line(min(now().after(silence), until))
		if err != nil {
			return nil, err
		}
		var said event
		if err = text.decode(&said); err != nil {
			return nil, err
		}
		switch said.Event {
		case "acquired":
			granted := &grant{a.claim.leases(&said, text.since), exchange}
			if !areOf(granted.leases, a.claim.keys()) {
				return nil, a.refuse(granted.leases)
			}
			if granted.validUntil().left() > 0 {
				return granted, nil
			}
			a.release(granted.leases, false, min(longestRelease, a.sidecar.timeout))
			failure := a.failure(nil, "it was granted too late to be of use")
			failure.Code = "too-late"
			return nil, &UnavailableError{failure}
		case "refused":
			var answer problem
			if err = text.decode(&answer); err != nil {
				return nil, err
			}
			return nil, answer.failure(a.order.key, "")
		case "waiting":
			a.claim.waits(&said)
		}
	}
}

// refuse releases leases of other keys than were asked for. Closing the connection releases what else it may hold.
func (a *attempt) refuse(leases []lease) error {
	if len(leases) > 0 {
		a.release(leases, false, min(longestRelease, a.sidecar.timeout))
	}
	return &RefusedError{a.failure(nil, "the answer grants other keys than were asked for; does the URL name lockside's API?")}
}

func (a *attempt) failure(cause error, format string, arguments ...any) Failure {
	message := fmt.Sprintf("`%s`: ", a.order.key) + fmt.Sprintf(format, arguments...)
	return Failure{Key: a.order.key, Outcome: NotApplied, Message: message, cause: cause}
}

// cancelled is the error of a caller who gave up.
func cancelled(ctx context.Context, key string) error {
	return done(ctx, "gave up waiting for", key)
}

// done is the error of a context that is done.
func done(ctx context.Context, what, key string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("lockside: %s `%s`: %w", what, key, cause)
	}
	return fmt.Errorf("lockside: %s `%s`: %w: %w", what, key, err, cause)
}
