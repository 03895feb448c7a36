package lockside

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestLocksOfAFakeAreExclusiveAndTheirTokensRise(t *testing.T) {
	fake := NewFake()
	first := acquired(t, fake.Client, "x")
	_, err := fake.Try(background, "x")
	var other *HeldError
	if !errors.As(err, &other) || other.Holder.Token != first.Token() || fake.Holder("x").Owner != first.Owner() {
		t.Fatalf("%#v", err)
	}
	for turn := 0; turn < 2; turn++ {
		if err := first.Release(); err != nil {
			t.Fatal(err)
		}
	}
	assertLost(t, first.Check(), Released)
	if fake.Holder("x") != nil {
		t.Fatal("it is not free")
	}
	if second := acquired(t, fake.Client, "x"); second.Token() <= first.Token() {
		t.Fatal("the token did not rise")
	}
	if keys := fake.Acquired(); !slices.Equal(keys, []string{"x", "x"}) {
		t.Fatal(keys)
	}
}

func TestWaitersOfAFakeAreServedInOrderEachInItsTime(t *testing.T) {
	fake, turns := NewFake(), make(chan int, 3)
	fake.Hold("x", "importer-7")
	_, err := fake.Acquire(background, "x", WithWait(20*time.Millisecond))
	var other *HeldError
	if !errors.As(err, &other) || other.Code != "wait-timeout" || other.Holder.Owner != "importer-7" {
		t.Fatalf("%#v", err)
	}
	for worker := 1; worker <= 3; worker++ {
		go func(worker int) {
			_ = fake.Do(background, "x", func(context.Context, *Lock) error {
				turns <- worker
				return nil
			})
		}(worker)
		eventually(t, "it waits", func() bool { return fake.Waiters("x") == worker })
	}
	fake.Free("x")
	for worker := 1; worker <= 3; worker++ {
		if turn := within(t, "a turn", turns); turn != worker {
			t.Fatalf("%d was served before %d", turn, worker)
		}
	}
}

func TestACancelledWaitLeavesTheQueueOfAFake(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "importer-7")
	ctx, cancel := context.WithCancel(background)
	told := func(position int, holder *Holder) {
		if position != 1 || holder.Owner != "importer-7" {
			t.Errorf("%d, %v", position, holder)
		}
		cancel()
	}
	if _, err := fake.Acquire(ctx, "x", WithOnWait(told)); !errors.Is(err, context.Canceled) || fake.Waiters("x") != 0 {
		t.Fatal(err)
	}
	if _, err := fake.Acquire(ctx, "y"); !errors.Is(err, context.Canceled) || fake.Holder("y") != nil {
		t.Fatal(err)
	}
}

func TestALossAtAFakeIsToldBeforeAnotherOwnerHasTheKey(t *testing.T) {
	fake := NewFake()
	err := fake.Do(background, "x", func(ctx context.Context, lock *Lock) error {
		fake.Lose("x", Redis)
		assertLost(t, context.Cause(ctx), Redis)
		assertLost(t, lock.Check(), Redis)
		within(t, "the channel", lock.Lost())
		return ctx.Err()
	})
	assertLost(t, err, Redis)
	acquired(t, fake.Client, "x")
}

func TestFailuresOfAFakeAreToldOnce(t *testing.T) {
	fake := NewFake()
	fake.Fail(&UnavailableError{})
	fake.Fail(&UnknownOutcomeError{})
	for _, expected := range []error{ErrUnavailable, ErrUnknownOutcome} {
		if _, err := fake.Try(background, "x"); !errors.Is(err, expected) {
			t.Fatal(err)
		}
	}
	acquired(t, fake.Client, "x")
}
