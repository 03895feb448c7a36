package lockside

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"
)

// A BundleKey is a key of a [Bundle]. Shared and Limit are for this key alone, as [WithShared] and [WithLimit] are for a lock.
type BundleKey struct {
	Key    string
	Shared bool
	Limit  int
}

// Keys are keys that a bundle has alone.
func Keys(keys ...string) []BundleKey {
	named := make([]BundleKey, 0, len(keys))
	for _, key := range keys {
		named = append(named, BundleKey{Key: key})
	}
	return named
}

const mostKeys = 16

// A leg is one key of an order of several.
type leg struct {
	key     string
	sharing sharing
}

// WithOnBundleWait has f called while a bundle is waited for, as [WithOnWait] does, with the key that it waits for.
func WithOnBundleWait(f func(key string, position int, holder *Holder)) Option {
	return func(order *order) error {
		order.onBundleWait = f
		return nil
	}
}

// AcquireBundle acquires 1 to 16 keys, or none of them, and waits for them as [Client.Acquire] does. Whatever the order of the
// keys, two bundles never wait for each other. A [*HeldError] names the key that is in the way. The options are those of a lock,
// but for the terms, [WithShared] and [WithLimit]: a [BundleKey] says whether it is shared.
func (c *Client) AcquireBundle(ctx context.Context, keys []BundleKey, options ...Option) (*Bundle, error) {
	order, err := c.bundleOrder(keys, options)
	if err != nil {
		return nil, refused(order.key, err)
	}
	holding, err := c.open(ctx, order)
	if err != nil {
		return nil, err
	}
	return newBundle(order, holding, c), nil
}

// TryBundle acquires the keys if all of them are free, and does not wait: if one is held, the error is a [*HeldError].
func (c *Client) TryBundle(ctx context.Context, keys []BundleKey, options ...Option) (*Bundle, error) {
	return c.AcquireBundle(ctx, keys, append(options[:len(options):len(options)], WithWait(0))...)
}

// DoBundle acquires the keys as [Client.AcquireBundle] does, calls f, and releases them, as [Client.Do] does with a lock.
func (c *Client) DoBundle(
	ctx context.Context, keys []BundleKey, f func(ctx context.Context, bundle *Bundle) error, options ...Option,
) error {
	bundle, err := c.AcquireBundle(ctx, keys, options...)
	if err != nil {
		return err
	}
	return under(ctx, bundle, func(work context.Context) error { return f(work, bundle) })
}

func (c *Client) bundleOrder(keys []BundleKey, options []Option) (order, error) {
	if len(keys) == 0 {
		return order{}, fmt.Errorf("keys: expected 1 to %d", mostKeys)
	}
	names, legs := make([]string, 0, len(keys)), make([]leg, 0, len(keys))
	for _, each := range keys {
		sharing := sharing{each.Shared || each.Limit != 0, each.Limit}
		if each.Key == "" {
			return order{}, errors.New("a key is empty")
		}
		if !utf8.ValidString(each.Key) {
			// JSON would have another key in its place.
			return order{key: each.Key}, fmt.Errorf("the key %q is not UTF-8", each.Key)
		}
		if each.Limit < 0 || each.Limit > mostSharers {
			return order{key: each.Key}, fmt.Errorf("limit: expected 1 to %d, not %d", mostSharers, each.Limit)
		}
		names, legs = append(names, each.Key), append(legs, leg{each.Key, sharing})
	}
	name := strings.Join(names, ", ")
	made, err := c.orderOf(name, options)
	switch {
	case err != nil:
	case made.terms != terms{}:
		err = errors.New("a bundle has no terms")
	case made.sharing != sharing{}:
		err = errors.New("say of each BundleKey whether it is shared")
	}
	made.legs = legs
	return made, err
}

// A Bundle is several locks that are held as one, from the acquire to [Bundle.Release], and renewed all the time. The first one
// that is lost loses the bundle, and the others are released at once. It may be used by many goroutines at once.
//
// As a [Lock], a bundle that is forgotten while it is held stays held until the process ends, and a warning is logged.
type Bundle struct {
	name    string
	leases  []lease
	holding holding
	signal  *signal
	client  *Client
}

func newBundle(order order, holding holding, client *Client) *Bundle {
	leases, ends := holding.view()
	bundle := &Bundle{order.key, leases, holding, ends, client}
	runtime.SetFinalizer(bundle, (*Bundle).forgotten)
	return bundle
}

// Keys are the keys in the order in which they were asked for.
func (b *Bundle) Keys() []string {
	keys := make([]string, 0, len(b.leases))
	for _, lease := range b.leases {
		keys = append(keys, lease.key)
	}
	return keys
}

// Tokens are the fencing tokens by key: pass each to the resource that its key protects, see [Lock.Token].
func (b *Bundle) Tokens() map[string]int64 {
	tokens := make(map[string]int64, len(b.leases))
	for _, lease := range b.leases {
		tokens[lease.key] = lease.token
	}
	return tokens
}

// Modes say by key whether it is held alone, [Exclusive], or [Shared] with others.
func (b *Bundle) Modes() map[string]Mode {
	modes := make(map[string]Mode, len(b.leases))
	for _, lease := range b.leases {
		modes[lease.key] = lease.mode
	}
	return modes
}

// Owner is the name of the holder.
func (b *Bundle) Owner() string { return b.leases[0].owner }

// Check returns a [*LostError] unless all keys are held. It compares the clock and sends nothing, as [Lock.Check].
func (b *Bundle) Check() error {
	defer runtime.KeepAlive(b)
	return b.holding.check()
}

// Lost is closed when the bundle is lost, before its leases end: stop the work. It is not closed by [Bundle.Release].
func (b *Bundle) Lost() <-chan struct{} { return b.signal.lost }

// Reason is why the bundle is not held any more; empty while it is.
func (b *Bundle) Reason() Reason { return reasonOf(b.Check()) }

// LostKey is the key that was lost, and the others with it; empty where all were lost together, or none was.
func (b *Bundle) LostKey() string {
	defer runtime.KeepAlive(b)
	return b.holding.lost()
}

// Context returns a context for the work under the bundle, as [Lock.Context].
func (b *Bundle) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return b.signal.context(parent)
}

// Release releases all keys: when it returns nil, they are free. Its errors are those of [Lock.Release].
func (b *Bundle) Release() error {
	defer runtime.KeepAlive(b)
	return b.holding.release()
}

func (b *Bundle) forgotten() { b.client.warn(b.holding, "a bundle", b.name) }
