package lockside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// A Config says which sidecar a [Client] asks, and how. The zero value does as the environment says.
type Config struct {
	// URL is http://host:port, https://host:port or unix:/path. Empty: LOCKSIDE_URL, else http://127.0.0.1:7420.
	URL string
	// TokenFile holds an API token or a JWT; it is read again for each request. Empty: LOCKSIDE_TOKEN_FILE, if any.
	TokenFile string
	// CAFile has the CA certificates that verify a sidecar with https. Empty: LOCKSIDE_CA_FILE, else the system's.
	CAFile string
	// CertFile and KeyFile are the client certificate that such a sidecar may ask for; they are read again for each connection.
	// Empty: LOCKSIDE_CERT_FILE and LOCKSIDE_KEY_FILE, if any.
	CertFile, KeyFile string
	// Owner names the holder of the client's locks. Empty: HOST/PID.
	Owner string
	// Timeout is how long the sidecar may be silent. 0: 5 s.
	Timeout time.Duration
	// Logger is told of locks that were forgotten while they are held, and of a [Watch] without a sidecar. Nil: slog.Default().
	Logger *slog.Logger
}

// A Client acquires locks, watches them, and tells who leads an election. It has no connections of its own, need not be closed, and
// may be used by many goroutines at once.
type Client struct {
	owner     string
	logger    *slog.Logger
	open      func(ctx context.Context, order order) (holding, error)
	elections elections
	// Tells the events of a course, until it ends with an error.
	follow func(ctx context.Context, course *course, tell func(Event) bool) error
}

// New makes a client. It does not ask the sidecar yet.
func New(config Config) (*Client, error) {
	address, err := parseAddress(given(config.URL, "LOCKSIDE_URL"))
	if err != nil {
		return nil, err
	}
	if config.Timeout < 0 {
		return nil, fmt.Errorf("lockside: Timeout: expected 0 or more, not %v", config.Timeout)
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	sidecar := &sidecar{
		address:   address,
		tokenFile: given(config.TokenFile, "LOCKSIDE_TOKEN_FILE"),
		timeout:   config.Timeout,
		tls: tlsFiles{
			ca:          given(config.CAFile, "LOCKSIDE_CA_FILE"),
			certificate: given(config.CertFile, "LOCKSIDE_CERT_FILE"),
			key:         given(config.KeyFile, "LOCKSIDE_KEY_FILE"),
		},
	}
	if address.certified != "" && (sidecar.tls.certificate == "") != (sidecar.tls.key == "") {
		return nil, errors.New("lockside: CertFile and KeyFile: expected both or neither")
	}
	if address.certified == "" && config.CAFile+config.CertFile+config.KeyFile != "" {
		return nil, errors.New("lockside: CAFile, CertFile and KeyFile: expected a URL https://host:port with them")
	}
	open := func(ctx context.Context, order order) (holding, error) {
		session, err := openSession(ctx, sidecar, order)
		if err != nil {
			return nil, err
		}
		return session, nil
	}
	return &Client{config.Owner, config.Logger, open, sidecar, sidecar.follow}, nil
}

// given is the setting of the program, else that of the environment.
func given(setting, variable string) string {
	if setting != "" {
		return setting
	}
	return os.Getenv(variable)
}

// Acquire acquires a lock, and waits for it: until the context is done, or as long as [WithWait] says. The context is for
// the acquire alone: once it is acquired, the lock is held until [Lock.Release].
//
// The error is a [*HeldError], an [*UnavailableError], an [*UnknownOutcomeError], a [*RefusedError], or the context's.
// While it waits, Acquire outlasts a sidecar that restarts or is not there yet.
func (c *Client) Acquire(ctx context.Context, key string, options ...Option) (*Lock, error) {
	order, err := c.order(key, options)
	if err != nil {
		return nil, refused(key, err)
	}
	holding, err := c.open(ctx, order)
	if err != nil {
		return nil, err
	}
	return newLock(key, holding, c), nil
}

// Try acquires a lock if it is free, and does not wait: if another owner holds it, the error is a [*HeldError].
func (c *Client) Try(ctx context.Context, key string, options ...Option) (*Lock, error) {
	return c.Acquire(ctx, key, append(options[:len(options):len(options)], WithWait(0))...)
}

// Do acquires a lock as [Client.Acquire] does, calls f, and releases the lock, also if f panics.
//
// The context of f is cancelled when the lock is lost, before its lease ends; [context.Cause] is the [*LostError] then. If
// the lock was lost before f returned, Do returns that error, joined with the error of f if that is of its own. Otherwise it
// returns the error of f: a release that is not confirmed is no error of the work.
func (c *Client) Do(ctx context.Context, key string, f func(ctx context.Context, lock *Lock) error, options ...Option) error {
	lock, err := c.Acquire(ctx, key, options...)
	if err != nil {
		return err
	}
	return under(ctx, lock, func(work context.Context) error { return f(work, lock) })
}

// What work is done under: a lock, or a bundle.
type kept interface {
	Context(parent context.Context) (context.Context, context.CancelFunc)
	Release() error
}

// under calls f and releases what is kept, as Do says.
func under(ctx context.Context, kept kept, f func(ctx context.Context) error) (err error) {
	work, cancel := kept.Context(ctx)
	defer func() {
		var loss *LostError
		if failure := kept.Release(); errors.As(failure, &loss) {
			isByLoss := err == nil || ctx.Err() == nil && errors.Is(err, context.Canceled) || errors.Is(err, ErrLost)
			if isByLoss {
				err = loss
			} else {
				err = errors.Join(err, loss)
			}
		}
		cancel()
	}()
	return f(work)
}

func (c *Client) order(key string, options []Option) (order, error) {
	if key == "" {
		return order{}, errors.New("the key is empty")
	}
	return c.orderOf(key, options)
}

func (c *Client) orderOf(key string, options []Option) (order, error) {
	order := order{key: key, ttl: TTL, wait: forever, owner: c.owner}
	for _, option := range options {
		if err := option(&order); err != nil {
			return order, fmt.Errorf("`%s`: %w", key, err)
		}
	}
	if order.owner == "" {
		order.owner = defaultOwner()
	}
	return order, nil
}
