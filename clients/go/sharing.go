package lockside

import "fmt"

// A Mode says whether a lock has its key alone.
type Mode string

const (
	// Exclusive: it has its key alone.
	Exclusive Mode = "exclusive"
	// Shared: others may have the key as well, see [WithShared]. The storage does not keep the token of a shared lock.
	Shared Mode = "shared"
)

// How many may share a key where no limit is named.
const mostSharers = 10_000

// sharing says whether a lock shares its key.
type sharing struct {
	isShared bool
	// How many may share the key when the lock is granted, this one included. 0: none was named.
	limit int
}

// WithShared lets the lock share its key with others that do, as readers; a lock without it has the key alone, as a writer. All
// wait in one queue, first come, first served.
func WithShared() Option {
	return func(order *order) error {
		order.sharing.isShared = true
		return nil
	}
}

// WithLimit is [WithShared] for at most so many, this lock included: a semaphore, whose permit is the lock. The limit is a
// condition of this acquire: another one may have another limit, and takes no lock away.
func WithLimit(limit int) Option {
	return func(order *order) error {
		if limit < 1 || limit > mostSharers {
			return fmt.Errorf("limit: expected 1 to %d, not %d", mostSharers, limit)
		}
		order.sharing = sharing{true, limit}
		return nil
	}
}

func (s sharing) mode() Mode {
	if s.isShared {
		return Shared
	}
	return Exclusive
}
