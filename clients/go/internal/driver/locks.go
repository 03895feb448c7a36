package main

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"runtime"
	"sync"
	"time"

	lockside "lockside.example/go"
)

func (d *driver) acquire(asked request) (fields, error) {
	ctx, cancel := d.waiting(asked)
	defer cancel()
	options := append(common(asked), terms(asked)...)
	if asked.Shared {
		options = append(options, lockside.WithShared())
	}
	if asked.Limit > 0 {
		options = append(options, lockside.WithLimit(asked.Limit))
	}
	lock, err := d.client.Acquire(ctx, asked.Key, options...)
	if err != nil {
		return nil, err
	}
	d.keep(asked.Lock, lock)
	return fields{"token": lock.Token(), "owner": lock.Owner(), "mode": lock.Mode(), "limit": orNil(lock.Limit())}, nil
}

// waiting is a context that ends by a request to cancel.
func (d *driver) waiting(asked request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	d.mu.Lock()
	d.cancels[asked.Lock] = cancel
	d.mu.Unlock()
	return ctx, cancel
}

// A holding is a lock, or a bundle.
type holding interface {
	Check() error
	Release() error
	Lost() <-chan struct{}
	Context(parent context.Context) (context.Context, context.CancelFunc)
}

func (d *driver) keep(name string, held holding) {
	d.mu.Lock()
	d.locks[name] = held
	d.mu.Unlock()
	work, _ := held.Context(context.Background())
	go tellLoss(name, held.Lost(), work)
}

// common are the options of a lock and of a bundle.
func common(asked request) []lockside.Option {
	options := []lockside.Option{
		lockside.WithTTL(time.Duration(asked.TTLMs) * time.Millisecond),
		lockside.WithWait(time.Duration(asked.WaitMs) * time.Millisecond),
	}
	if asked.Owner != "" {
		options = append(options, lockside.WithOwner(asked.Owner))
	}
	if asked.Meta != nil {
		options = append(options, lockside.WithMeta(asked.Meta))
	}
	return options
}

func terms(asked request) (options []lockside.Option) {
	for _, term := range []struct {
		ms     int64
		option func(time.Duration) lockside.Option
	}{
		{asked.DelayMs, lockside.WithDelay},
		{asked.MinHoldMs, lockside.WithMinHold},
		{asked.MaxHoldMs, lockside.WithMaxHold},
		{asked.RestMs, lockside.WithRest},
	} {
		if term.ms > 0 {
			options = append(options, term.option(time.Duration(term.ms)*time.Millisecond))
		}
	}
	return options
}

// tellLoss does not refer to the lock, which may be dropped.
func tellLoss(name string, lost <-chan struct{}, work context.Context) {
	<-work.Done()
	var loss *lockside.LostError
	errors.As(context.Cause(work), &loss)
	select {
	case <-lost:
		say(fields{"event": "lost", "lock": name, "reason": loss.Reason})
	case <-time.After(time.Second):
		// Released.
	}
}

func (d *driver) cycle(asked request) (fields, error) {
	refusals := 0
	for number := 0; number < asked.Count; number++ {
		ttl := time.Duration(asked.TTLMs) * time.Millisecond
		nothing := func(context.Context, *lockside.Lock) error { return nil }
		err := d.client.Do(context.Background(), asked.Key, nothing, lockside.WithTTL(ttl), lockside.WithWait(0))
		if err != nil {
			refusals++
		}
	}
	return fields{"refusals": refusals}, nil
}

// block keeps all processors that the runtime has.
func (d *driver) block(asked request) error {
	end := time.Now().Add(time.Duration(asked.Ms) * time.Millisecond)
	var busy sync.WaitGroup
	for processor := 0; processor < runtime.GOMAXPROCS(0); processor++ {
		busy.Add(1)
		go func() {
			defer busy.Done()
			for time.Now().Before(end) {
			}
		}()
	}
	busy.Wait()
	if asked.ThenCheck == "" {
		return nil
	}
	return d.lock(asked.ThenCheck).Check()
}

func start(command []string) (fields, error) {
	child := exec.Command(command[0], command[1:]...)
	if err := child.Start(); err != nil {
		return nil, err
	}
	go func() { _ = child.Wait() }()
	return fields{"pid": child.Process.Pid}, nil
}

func view(err error) fields {
	var failure *lockside.Failure
	if errors.Is(err, context.Canceled) {
		return fields{"type": "cancelled"}
	}
	if !errors.As(err, &failure) {
		return fields{"type": "other", "detail": err.Error()}
	}
	seen := fields{"code": failure.Code, "outcome": failure.Outcome, "key": failure.Key, "detail": err.Error()}
	var held *lockside.HeldError
	var loss *lockside.LostError
	switch {
	case errors.As(err, &held):
		seen["type"], seen["state"], seen["waiters"] = "held", held.State, held.Waiters
		seen["mode"], seen["sharedBy"], seen["holder"] = orNil(held.Mode), orNil(held.SharedBy), holderView(held.Holder)
	case errors.As(err, &loss):
		seen["type"], seen["reason"] = "lost", loss.Reason
	case errors.Is(err, lockside.ErrUnavailable):
		seen["type"] = "unavailable"
	case errors.Is(err, lockside.ErrUnknownOutcome):
		seen["type"] = "unknown"
	case errors.Is(err, lockside.ErrRefused):
		seen["type"] = "refused"
	}
	return seen
}

func holderView(holder *lockside.Holder) any {
	if holder == nil {
		return nil
	}
	return fields{
		"owner": holder.Owner, "token": orNil(holder.Token), "mode": orNil(holder.Mode), "limit": orNil(holder.Limit),
		"state": orNil(holder.State),
	}
}

// orNil is nil where the package has nothing to say.
func orNil[T comparable](value T) any {
	var nothing T
	if value == nothing {
		return nil
	}
	return value
}

// leaks hears the client's log.
type leaks struct{}

func (leaks) Enabled(context.Context, slog.Level) bool { return true }
func (l leaks) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l leaks) WithGroup(string) slog.Handler          { return l }

func (leaks) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key == "key" {
			say(fields{"event": "leaked", "key": attribute.Value.String()})
		}
		return true
	})
	return nil
}
