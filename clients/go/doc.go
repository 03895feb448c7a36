// Package lockside acquires distributed locks from a lockside sidecar. A lock is held as long as a connection and renewed all
// the time; it comes with a fencing token, and its loss is told before another owner can have it.
//
//	client, err := lockside.New(lockside.Config{})
//	…
//	err = client.Do(ctx, "night-report", func(ctx context.Context, lock *lockside.Lock) error {
//		for _, page := range pages {
//			if err := lock.Check(); err != nil {
//				return err // the lock may be another owner's now
//			}
//			write(ctx, page, lock.Token())
//		}
//		return nil
//	})
//
// The sidecar is that of LOCKSIDE_URL, http://host:port or unix:/path, and http://127.0.0.1:7420 without it. Where it asks for
// a credential, LOCKSIDE_TOKEN_FILE names a file with one. Proxy settings and the defaults of package net/http have no effect.
//
// # Loss
//
// A lock is lost when it is force-released, when its sidecar or Redis is unavailable for longer than the lease lasts, or when
// this process stood still for so long. The loss is told by the clock of this process, before the lease ends: [Lock.Lost] is
// closed, the contexts of [Lock.Context] and [Client.Do] are cancelled with a [*LostError] as their cause, and [Lock.Check]
// returns it. A sidecar that restarts in time is no loss.
//
// A process may be paused between a check and a write. So let what the lock protects refuse a write with a lower
// [Lock.Token] than the highest of an exclusive lock that it has seen.
//
// # Sharing
//
// With [WithShared] a lock shares its key with others that do, and one without it has the key alone: readers and writers. With
// [WithLimit] so many may share it: a semaphore.
//
// # Several keys at once
//
// [Client.AcquireBundle] and [Client.DoBundle] acquire several keys, or none of them: a [Bundle] is kept, lost and released as one.
//
// # Watching
//
// [Client.Watch] and [Client.WatchPrefix] tell what happens to locks, also to those of others: the state first, then each change.
//
// # Errors
//
// Each error has a sentinel for [errors.Is], a type with its details for [errors.As], and is a [*Failure] for [errors.As] as
// well, whose Outcome says whether what was asked for was done. An acquire without an answer is repeated under the same
// Idempotency-Key, for as long as it may wait and at least for the client's Timeout: it never leaves a lock behind.
package lockside
