package lockside

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var background = context.Background()

func acquired(t *testing.T, client *Client, key string, options ...Option) *Lock {
	t.Helper()
	lock, err := client.Try(background, key, options...)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func assertLost(t *testing.T, err error, reason Reason) {
	t.Helper()
	var loss *LostError
	if !errors.As(err, &loss) || loss.Reason != reason || !errors.Is(err, ErrLost) {
		t.Fatalf("expected a loss, %s, and got: %v", reason, err)
	}
}

func TestALockIsHeldUntilReleaseReturns(t *testing.T) {
	key, rival := unique(), aRival(t)
	lock := acquired(t, aClient(t), key, WithMeta(map[string]int{"page": 7}))
	if holder := rival.state(key).Holder; holder == nil || holder.Token != lock.Token() || string(holder.Meta) != `{"page":7}` {
		t.Fatalf("the holder is %+v", holder)
	}
	if err := lock.Check(); err != nil || lock.Reason() != "" {
		t.Fatal(err)
	}
	for turn := 0; turn < 2; turn++ {
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if state := rival.state(key).State; state != "free" {
		t.Fatalf("it is %s", state)
	}
	assertLost(t, lock.Check(), Released)
}

func TestAReleaseEndsTheContextsOfTheWorkAndIsNoLoss(t *testing.T) {
	lock := acquired(t, aClient(t), unique())
	ctx, cancel := lock.Context(background)
	defer cancel()
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	assertLost(t, context.Cause(ctx), Released)
	select {
	case <-lock.Lost():
		t.Fatal("the signal of loss was given")
	default:
	}
	late, cancelLate := lock.Context(background)
	defer cancelLate()
	assertLost(t, context.Cause(late), Released)
}

func TestALossIsToldByChannelContextCheckAndRelease(t *testing.T) {
	key := unique()
	lock := acquired(t, aClient(t), key)
	ctx, cancel := lock.Context(background)
	defer cancel()
	aRival(t).force(key)
	within(t, "the channel", lock.Lost())
	within(t, "the context", ctx.Done())
	assertLost(t, context.Cause(ctx), Forced)
	assertLost(t, lock.Check(), Forced)
	assertLost(t, lock.Release(), Forced)
}

func TestAContextOfTheWorkEndsWithItsParentAndItsCancel(t *testing.T) {
	lock := acquired(t, aClient(t), unique())
	defer lock.Release()
	parent, end := context.WithCancel(background)
	child, cancel := lock.Context(parent)
	defer cancel()
	end()
	within(t, "the child", child.Done())
	other, cancelOther := lock.Context(background)
	cancelOther()
	if other.Err() != context.Canceled || len(lock.signal.cancels) != 1 {
		t.Fatalf("%v, %d contexts", other.Err(), len(lock.signal.cancels))
	}
}

func TestTryDoesNotWaitAndNamesTheHolder(t *testing.T) {
	key, rival := unique(), aRival(t)
	token := rival.take(key)
	_, err := aClient(t).Try(background, key, WithWait(time.Hour))
	var other *HeldError
	if !errors.As(err, &other) || !errors.Is(err, ErrHeld) || other.Holder.Owner != "rival" || other.Holder.Token != token {
		t.Fatalf("%#v", err)
	}
	var failure *Failure
	if !errors.As(err, &failure) || failure.Code != "held" || failure.Outcome != NotApplied || failure.Status != 409 {
		t.Fatalf("%#v", failure)
	}
}

func TestAcquireWaitsForAsLongAsItsContextLasts(t *testing.T) {
	key, rival, client := unique(), aRival(t), aClient(t)
	token := rival.take(key)
	ctx, cancel := context.WithTimeout(background, 300*time.Millisecond)
	defer cancel()
	if _, err := client.Acquire(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	eventually(t, "it left the queue", func() bool { return rival.state(key).Waiters == 0 })

	locks := make(chan *Lock, 1)
	go func() {
		lock, err := client.Acquire(background, key)
		if err != nil {
			t.Error(err)
		}
		locks <- lock
	}()
	eventually(t, "it waits", func() bool { return rival.state(key).Waiters == 1 })
	rival.free(key, token)
	if err := within(t, "the lock", locks).Release(); err != nil {
		t.Fatal(err)
	}
}

func TestTheCauseOfACancelledWaitIsInItsError(t *testing.T) {
	key, rival, cause := unique(), aRival(t), errors.New("shutting down")
	rival.take(key)
	ctx, cancel := context.WithCancelCause(background)
	failed := make(chan error, 1)
	go func() {
		_, err := aClient(t).Acquire(ctx, key)
		failed <- err
	}()
	eventually(t, "it waits", func() bool { return rival.state(key).Waiters == 1 })
	cancel(cause)
	if err := within(t, "the error", failed); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Fatal(err)
	}
	if _, err := aClient(t).Acquire(ctx, unique()); !errors.Is(err, cause) {
		t.Fatal("a cancelled context acquired a lock", err)
	}
}

func TestTheWaitIsToldOfThePositionAndTheHolder(t *testing.T) {
	key, rival, done := unique(), aRival(t), errors.New("seen")
	rival.take(key)
	ctx, cancel := context.WithCancelCause(background)
	_, err := aClient(t).Acquire(ctx, key, WithOnWait(func(position int, holder *Holder) {
		if position == 1 && holder != nil && holder.Owner == "rival" {
			cancel(done)
		}
	}))
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
}

func TestTheContextOfAnAcquireDoesNotBoundTheLock(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	lock, err := aClient(t).Acquire(ctx, unique(), WithTTL(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := lock.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestAHundredWaitersOfOneProcessAllGetTheirTurn(t *testing.T) {
	key, client := unique(), aClient(t)
	var inside, turns atomic.Int64
	var all sync.WaitGroup
	for worker := 0; worker < 100; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			err := client.Do(background, key, func(context.Context, *Lock) error {
				defer inside.Add(-1)
				if count := inside.Add(1); count != 1 {
					return fmt.Errorf("%d at once", count)
				}
				turns.Add(1)
				return nil
			}, WithWait(time.Minute))
			if err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if turns.Load() != 100 {
		t.Fatalf("%d turns", turns.Load())
	}
}
