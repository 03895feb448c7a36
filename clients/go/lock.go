package lockside

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
)

// A holding is what a lock needs of what it stands for: a session at a sidecar, or one of a fake.
type holding interface {
	view() (granted []lease, ends *signal)
	isHeld() bool
	// lost is which key of several was lost first; empty where that is not known, or none was.
	lost() string
	check() error
	release() error
}

// A Lock is held from the acquire to [Lock.Release], and renewed all the time. It may be used by many goroutines at once.
//
// A lock that is forgotten while it is held is not released by the garbage collector: it stays held until the process ends,
// and a warning with its key is logged. Use [Client.Do], or defer Release.
type Lock struct {
	key     string
	lease   lease
	holding holding
	signal  *signal
	client  *Client
}

func newLock(key string, holding holding, client *Client) *Lock {
	granted, ends := holding.view()
	lock := &Lock{key, granted[0], holding, ends, client}
	runtime.SetFinalizer(lock, (*Lock).forgotten)
	return lock
}

// Key is what the lock is for.
func (l *Lock) Key() string { return l.key }

// Token is the fencing token: each grant of a key has a higher one. Pass it to the protected resource,
// which must reject any token lower than the highest of an exclusive lock that it has seen.
func (l *Lock) Token() int64 { return l.lease.token }

// Owner is the name of the holder.
func (l *Lock) Owner() string { return l.lease.owner }

// Mode is how the lock is held: [Exclusive], or [Shared] with others. Storage does not keep the token of a shared lock.
func (l *Lock) Mode() Mode { return l.lease.mode }

// Limit is how many may share the key, as [WithLimit] said; 0 without it.
func (l *Lock) Limit() int { return l.lease.limit }

// Check returns a [*LostError] unless the lock is held. It compares the clock and sends nothing: call it as often as you
// like, above all before what must not be done without the lock.
func (l *Lock) Check() error {
	defer runtime.KeepAlive(l)
	return l.holding.check()
}

// Lost is closed when the lock is lost, before its lease ends: stop the work. It is not closed by [Lock.Release].
func (l *Lock) Lost() <-chan struct{} { return l.signal.lost }

// Reason is why the lock is not held any more; empty while it is.
func (l *Lock) Reason() Reason { return reasonOf(l.Check()) }

func reasonOf(err error) Reason {
	var loss *LostError
	if errors.As(err, &loss) {
		return loss.Reason
	}
	return ""
}

// Context returns a context for the work under the lock. It is cancelled with the parent, when the lock is lost, before its
// lease ends, and when it is released: then [context.Cause] is a [*LostError] with the reason.
func (l *Lock) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return l.signal.context(parent)
}

// Watch tells what happens to the key of the lock, also while others hold it, as [Client.Watch] does.
func (l *Lock) Watch(ctx context.Context) *Watch { return l.client.Watch(ctx, l.key) }

// Release releases the lock: when it returns nil, the key is free, or its next owner's. It takes no context, since a lock is
// released also after the work was cancelled, and needs no more than 3 s.
//
// The error is a [*LostError] if the lock was lost before, and an [*UnknownOutcomeError] if the sidecar could not be asked:
// then the lock ends with its connection, or with its lease at the latest. It may be called again, and returns the same.
func (l *Lock) Release() error {
	defer runtime.KeepAlive(l)
	return l.holding.release()
}

func (l *Lock) forgotten() { l.client.warn(l.holding, "a lock", l.key) }

// warn tells of what was forgotten while it is held.
func (c *Client) warn(holding holding, what, key string) {
	if !holding.isHeld() {
		return
	}
	logger := c.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Warn("lockside: "+what+" was forgotten while it is held; it stays held until the process ends: defer its Release", "key", key)
}
