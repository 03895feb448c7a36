package lockside

import (
	"context"
	"errors"
	"testing"
	"time"
)

func assertHeldIn(t *testing.T, err error, state State, token int64) {
	t.Helper()
	var other *HeldError
	if !errors.As(err, &other) || other.State != state || other.Holder == nil || other.Holder.Token != token {
		t.Fatalf("expected %s, and got: %#v", state, err)
	}
}

func TestASecondRunWithinTheMinimumIsRefusedAsResting(t *testing.T) {
	key, client := unique(), aClient(t)
	lock := acquired(t, client, key, WithMinHold(30*time.Second))
	_, err := client.Try(background, key)
	assertHeldIn(t, err, Held, lock.Token())
	if err = lock.Release(); err != nil {
		t.Fatal(err)
	}
	_, err = client.Try(background, key)
	assertHeldIn(t, err, Resting, lock.Token())
}

func TestAReleaseEndsTheDelayAndBeginsTheRest(t *testing.T) {
	key, rival, client := unique(), aRival(t), aClient(t)
	for _, row := range []struct {
		rest  time.Duration
		state string
	}{{0, "free"}, {20 * time.Second, "resting"}} {
		if err := acquired(t, client, key, WithDelay(30*time.Second), WithRest(row.rest)).Release(); err != nil {
			t.Fatal(err)
		}
		if state := rival.state(key).State; state != row.state {
			t.Fatalf("it is %s after a rest of %v", state, row.rest)
		}
	}
}

func TestALockIsLostAtItsMaximum(t *testing.T) {
	err := aClient(t).Do(background, unique(), func(ctx context.Context, lock *Lock) error {
		within(t, "the loss", lock.Lost())
		return nil
	}, WithTTL(time.Second), WithMaxHold(2500*time.Millisecond))
	assertLost(t, err, MaxHold)
}

func TestTermsThatAreNoTimeAreRefusedBeforeAnythingIsSent(t *testing.T) {
	fake := NewFake()
	for _, option := range []Option{WithDelay(-1), WithMinHold(-1), WithMaxHold(0), WithRest(-1)} {
		if _, err := fake.Try(background, "x", option); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	acquired(t, fake.Client, "x")
}

func TestALockOfAFakeWithAMinimumOrARestRestsUntilItIsFree(t *testing.T) {
	for _, term := range []Option{WithMinHold(time.Minute), WithRest(time.Minute)} {
		fake := NewFake()
		lock := acquired(t, fake.Client, "x", term)
		_, err := fake.Try(background, "x")
		assertHeldIn(t, err, Held, lock.Token())
		if err = lock.Release(); err != nil {
			t.Fatal(err)
		}
		_, err = fake.Acquire(background, "x", WithWait(20*time.Millisecond))
		assertHeldIn(t, err, Resting, lock.Token())
		fake.Free("x")
		if err = acquired(t, fake.Client, "x", WithDelay(time.Minute)).Release(); err != nil || fake.Holder("x") != nil {
			t.Fatal(err)
		}
	}
}
