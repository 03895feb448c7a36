package lockside

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func assertSharedBy(t *testing.T, err error, count int) {
	t.Helper()
	var other *HeldError
	if !errors.As(err, &other) || other.Mode != Shared || other.SharedBy != count || other.State != Held || other.Holder.Mode != Shared {
		t.Fatalf("expected that %d share it, and got: %#v", count, err)
	}
}

func released(t *testing.T, locks ...*Lock) {
	t.Helper()
	for _, lock := range locks {
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersHaveAKeyTogetherAndAWriterHasItAlone(t *testing.T) {
	key, rival, client := unique(), aRival(t), aClient(t)
	first, second := acquired(t, client, key, WithShared()), acquired(t, client, key, WithShared())
	if first.Mode() != Shared || first.Limit() != 0 || second.Token() <= first.Token() {
		t.Fatalf("%+v", first)
	}
	_, err := client.Try(background, key)
	assertSharedBy(t, err, 2)
	if !strings.Contains(err.Error(), "is shared by") || !strings.HasSuffix(err.Error(), " and 1 more") {
		t.Fatal(err)
	}
	released(t, first, second)
	writer := acquired(t, client, key)
	if writer.Mode() != Exclusive || writer.Limit() != 0 {
		t.Fatalf("%+v", writer)
	}
	_, err = client.Try(background, key, WithShared())
	var other *HeldError
	if !errors.As(err, &other) || other.Mode != "" || other.SharedBy != 0 || other.Holder.Mode != Exclusive {
		t.Fatalf("%#v", err)
	}
	released(t, writer)
	if state := rival.state(key).State; state != "free" {
		t.Fatal(state)
	}
}

func TestALimitMakesALockSharedBySoManyAtOnce(t *testing.T) {
	key, client := unique(), aClient(t)
	var running, most atomic.Int64
	ended := make(chan error)
	for worker := 0; worker < 7; worker++ {
		go func() {
			ended <- client.Do(background, key, func(_ context.Context, lock *Lock) error {
				if lock.Mode() != Shared || lock.Limit() != 3 {
					return errors.New("it is not limited")
				}
				now := running.Add(1)
				for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
				}
				if now == 3 {
					if _, err := client.Try(background, key, WithLimit(3)); !errors.Is(err, ErrHeld) {
						return fmt.Errorf("a fourth got in: %w", err)
					}
				}
				time.Sleep(50 * time.Millisecond)
				running.Add(-1)
				return nil
			}, WithLimit(3))
		}()
	}
	for worker := 0; worker < 7; worker++ {
		if err := within(t, "the end of the work", ended); err != nil {
			t.Fatal(err)
		}
	}
	if most.Load() != 3 {
		t.Fatal(most.Load())
	}
}

func TestWhatIsNoLimitIsRefusedBeforeAnythingIsSent(t *testing.T) {
	for _, limit := range []int{0, -1, 10_001} {
		if _, err := aClient(t).Try(background, "x", WithLimit(limit)); !errors.Is(err, ErrRefused) {
			t.Fatalf("%d: %v", limit, err)
		}
	}
}

func TestAFakeSharesAKeyUpToTheLimit(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "encoder-1", WithShared())
	second := acquired(t, fake.Client, "x", WithLimit(2))
	for _, option := range []Option{WithLimit(2), WithWait(0)} {
		_, err := fake.Try(background, "x", option)
		assertSharedBy(t, err, 2)
	}
	third := acquired(t, fake.Client, "x", WithLimit(3), WithShared())
	if third.Limit() != 3 || len(fake.Holders("x")) != 3 {
		t.Fatalf("%+v", fake.Holders("x"))
	}
	fake.Free("x")
	if fake.Holder("x").Token != second.Token() {
		t.Fatal("it was not the oldest that released it")
	}
	released(t, second, third)
	acquired(t, fake.Client, "x")
	if _, err := fake.Try(background, "x", WithShared()); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
}

func TestAFakeServesReadersAndWritersInOrder(t *testing.T) {
	fake, turns := NewFake(), make(chan string, 4)
	first := acquired(t, fake.Client, "x", WithShared())
	for number, name := range []string{"writer", "reader", "reader", "last"} {
		var options []Option
		if name == "reader" {
			options = []Option{WithShared()}
		}
		go func(name string) {
			_ = fake.Do(background, "x", func(context.Context, *Lock) error {
				turns <- name
				return nil
			}, options...)
		}(name)
		eventually(t, "it waits", func() bool { return fake.Waiters("x") == number+1 })
	}
	_, err := fake.Try(background, "x", WithShared())
	assertSharedBy(t, err, 1)
	released(t, first)
	var served []string
	for len(served) < 4 {
		served = append(served, within(t, "a turn", turns))
	}
	if !slices.Equal(served, []string{"writer", "reader", "reader", "last"}) {
		t.Fatal(served)
	}
}

func TestReadersOfAFakeGetInWhenAWriterGivesUp(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "reader", WithShared())
	writing, stop := context.WithCancel(background)
	gaveUp := make(chan error)
	go func() {
		_, err := fake.Acquire(writing, "x")
		gaveUp <- err
	}()
	eventually(t, "the writer waits", func() bool { return fake.Waiters("x") == 1 })
	reading := make(chan error)
	go func() {
		_, err := fake.Acquire(background, "x", WithShared())
		reading <- err
	}()
	eventually(t, "the reader waits", func() bool { return fake.Waiters("x") == 2 })
	stop()
	if err := within(t, "the writer gives up", gaveUp); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := within(t, "the reader gets in", reading); err != nil || len(fake.Holders("x")) != 2 {
		t.Fatal(err)
	}
}

func TestAllWhoShareAKeyOfAFakeLoseIt(t *testing.T) {
	fake := NewFake()
	locks := []*Lock{acquired(t, fake.Client, "x", WithShared()), acquired(t, fake.Client, "x", WithLimit(5))}
	fake.Lose("x", Forced)
	for _, lock := range locks {
		assertLost(t, lock.Check(), Forced)
	}
	if fake.Holder("x") != nil {
		t.Fatal("it is not free")
	}
}

func TestOneOfThoseWhoShareAKeyOfAFakeRestsAndThenAllOfThem(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "reader-1", WithShared())
	second := acquired(t, fake.Client, "x", WithShared(), WithRest(time.Minute))
	ctx, stop := context.WithCancel(background)
	defer stop()
	events := fake.Watch(ctx, "x").Events()
	within(t, "the state", events)
	within(t, "synced", events)
	released(t, second)
	told := within(t, "the release", events)
	if told.Type != EventReleased || told.State != Resting || told.Holder.State != Resting {
		t.Fatalf("%+v", told)
	}
	if holders := fake.Holders("x"); holders[0].State != Held || holders[1].State != Resting {
		t.Fatalf("%+v %+v", holders[0], holders[1])
	}
	for _, state := range []State{Held, Resting} {
		_, err := fake.Try(background, "x")
		var held *HeldError
		if !errors.As(err, &held) || held.State != state || held.Mode != Shared {
			t.Fatalf("%v: %+v", state, err)
		}
		if told := within(t, "the state", fake.Watch(ctx, "x").Events()); told.State != state {
			t.Fatalf("%+v", told)
		}
		fake.Free("x")
	}
	if acquired(t, fake.Client, "x"); fake.Holder("x").State != "" {
		t.Fatalf("%+v", fake.Holder("x"))
	}
}

func TestAWatchOfAFakeTellsWhoShareAKey(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "reader-1", WithShared())
	fake.Hold("x", "reader-2", WithLimit(5))
	ctx, stop := context.WithCancel(background)
	defer stop()
	state := within(t, "the state", fake.Watch(ctx, "x").Events())
	if state.Mode != Shared || state.SharedBy != 2 || len(state.Holders) != 2 || state.Holder != state.Holders[0] {
		t.Fatalf("%+v", state)
	}
	if second := state.Holders[1]; second.Owner != "reader-2" || second.Limit != 5 || second.Token != state.Token {
		t.Fatalf("%+v", second)
	}
}
