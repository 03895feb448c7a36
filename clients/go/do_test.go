package lockside

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var errWork = errors.New("the work failed")

func TestDoReleasesWhateverTheWorkReturns(t *testing.T) {
	key, client, rival := unique(), aClient(t), aRival(t)
	for _, end := range []error{nil, errWork} {
		err := client.Do(background, key, func(ctx context.Context, lock *Lock) error {
			if rival.state(key).Holder.Token != lock.Token() {
				t.Error("it is not held")
			}
			return end
		})
		if err != end || rival.state(key).State != "free" {
			t.Fatalf("%v, %+v", err, rival.state(key))
		}
	}
}

func TestDoReleasesAfterAPanic(t *testing.T) {
	key, client := unique(), aClient(t)
	func() {
		defer func() {
			if told := recover(); told != errWork {
				t.Errorf("the panic is %v", told)
			}
		}()
		_ = client.Do(background, key, func(context.Context, *Lock) error { panic(errWork) })
	}()
	if state := aRival(t).state(key).State; state != "free" {
		t.Fatalf("it is %s", state)
	}
}

func TestDoCancelsItsWorkAtTheLossAndReturnsTheLoss(t *testing.T) {
	key, rival := unique(), aRival(t)
	err := aClient(t).Do(background, key, func(ctx context.Context, lock *Lock) error {
		rival.force(key)
		within(t, "the context", ctx.Done())
		return ctx.Err()
	})
	assertLost(t, err, Forced)
	if errors.Is(err, context.Canceled) {
		t.Fatal("the loss looks like a cancelled caller")
	}
}

func TestDoReturnsAnErrorOfTheWorkBesideTheLoss(t *testing.T) {
	key, rival := unique(), aRival(t)
	err := aClient(t).Do(background, key, func(ctx context.Context, lock *Lock) error {
		rival.force(key)
		within(t, "the channel", lock.Lost())
		return errWork
	})
	if !errors.Is(err, errWork) {
		t.Fatal(err)
	}
	assertLost(t, err, Forced)
}

func TestDoReturnsALossThatTheWorkDidNotNotice(t *testing.T) {
	key, rival := unique(), aRival(t)
	assertLost(t, aClient(t).Do(background, key, func(context.Context, *Lock) error {
		rival.force(key)
		return nil
	}), Forced)
}

func TestDoPassesOnItsContextToTheWork(t *testing.T) {
	type name struct{}
	ctx, cancel := context.WithCancel(context.WithValue(background, name{}, "value"))
	err := aClient(t).Do(ctx, unique(), func(work context.Context, lock *Lock) error {
		if work.Value(name{}) != "value" {
			t.Error("the value is gone")
		}
		cancel()
		within(t, "the context", work.Done())
		return work.Err()
	})
	if err != context.Canceled {
		t.Fatal(err)
	}
}

func TestDoDoesNotRunWhatItHasNoLockFor(t *testing.T) {
	key := unique()
	aRival(t).take(key)
	err := aClient(t).Do(background, key, func(context.Context, *Lock) error {
		t.Error("it ran")
		return nil
	}, WithWait(0))
	if !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
}

// A log that many goroutines may write.
type safeLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *safeLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *safeLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func TestAForgottenLockIsWarnedOfAndStaysHeld(t *testing.T) {
	log, key, rival := &safeLog{}, unique(), aRival(t)
	client, err := New(Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	acquired(t, client, key, WithTTL(time.Second))
	other := unique()
	if err := acquired(t, client, other).Release(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the warning", func() bool {
		runtime.GC()
		return log.has(key)
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if rival.state(key).State != "held" {
			t.Fatal("it is not held any more")
		}
	}
	if log.has(other) {
		t.Fatal("a released lock was warned of")
	}
	rival.force(key)
}

func TestWhatMakesNoSenseIsRefusedBeforeAnythingIsSent(t *testing.T) {
	client, err := New(Config{URL: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]Option{
		"ttl: ":  WithTTL(0),
		"wait: ": WithWait(-1),
		"meta: ": WithMeta(func() {}),
	} {
		_, err := client.Acquire(background, "x", option)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %v", name, err)
		}
	}
	if _, err := client.Acquire(background, ""); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if _, err := client.Try(background, "x"); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
