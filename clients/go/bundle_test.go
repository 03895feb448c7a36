package lockside

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func acquiredAll(t *testing.T, client *Client, keys []BundleKey, options ...Option) *Bundle {
	t.Helper()
	bundle, err := client.TryBundle(background, keys, options...)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// assertInTheWay asserts that a key is held, and returns what is said of it.
func assertInTheWay(t *testing.T, err error, key string) *HeldError {
	t.Helper()
	var other *HeldError
	if !errors.As(err, &other) || other.Key != key || !strings.Contains(err.Error(), "`"+key+"`") {
		t.Fatalf("expected that `%s` is in the way, and got: %#v", key, err)
	}
	return other
}

func assertLostBy(t *testing.T, err error, key string, reason Reason) {
	t.Helper()
	assertLost(t, err, reason)
	var loss *LostError
	if errors.As(err, &loss); loss.Key != key {
		t.Fatalf("expected the loss of `%s`, and got: %v", key, err)
	}
}

func TestABundleHasAllItsKeysUntilReleaseReturns(t *testing.T) {
	x, y, rival, client := unique(), unique(), aRival(t), aClient(t)
	bundle := acquiredAll(t, client, []BundleKey{{Key: y}, {Key: x, Limit: 2}}, WithTTL(5*time.Second), WithOwner("transfer-1"))
	if !slices.Equal(bundle.Keys(), []string{y, x}) || bundle.Owner() != "transfer-1" || bundle.LostKey() != "" {
		t.Fatalf("%+v", bundle)
	}
	if !maps.Equal(bundle.Modes(), map[string]Mode{y: Exclusive, x: Shared}) || bundle.Reason() != "" {
		t.Fatal(bundle.Modes())
	}
	for key, token := range bundle.Tokens() {
		if holder := rival.state(key).Holder; holder == nil || holder.Token != token || holder.Owner != "transfer-1" {
			t.Fatalf("the holder of `%s` is %+v", key, holder)
		}
	}
	other := unique()
	_, err := client.TryBundle(background, Keys(other, x))
	if assertInTheWay(t, err, x).SharedBy != 1 || rival.state(other).State != "free" {
		t.Fatal(err)
	}
	for turn := 0; turn < 2; turn++ {
		if err := bundle.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if rival.state(x).State != "free" || rival.state(y).State != "free" {
		t.Fatal("it is not free")
	}
	assertLost(t, bundle.Check(), Released)
}

func TestABundleTellsWhichKeyItWaitsForAndAContextEndsTheWait(t *testing.T) {
	x, y, rival, client := unique(), unique(), aRival(t), aClient(t)
	token := rival.take(y)
	ctx, stop := context.WithCancel(background)
	told, ended := make(chan string, 100), make(chan error)
	go func() {
		_, err := client.AcquireBundle(ctx, Keys(y, x), WithOnBundleWait(func(key string, _ int, holder *Holder) {
			if holder != nil {
				told <- key + " " + holder.Owner
			}
		}))
		ended <- err
	}()
	if waits := within(t, "it waits", told); waits != y+" rival" {
		t.Fatal(waits)
	}
	stop()
	if err := within(t, "it gives up", ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", func() bool { return rival.state(x).State == "free" && rival.state(y).Waiters == 0 })
	rival.free(y, token)
}

func TestALossOfOneKeyEndsTheWorkAndFreesTheOthers(t *testing.T) {
	x, y, rival := unique(), unique(), aRival(t)
	var seen *Bundle
	err := aClient(t).DoBundle(background, Keys(x, y), func(ctx context.Context, bundle *Bundle) error {
		seen = bundle
		rival.force(y)
		within(t, "the signal of loss", bundle.Lost())
		assertLostBy(t, context.Cause(ctx), y, Forced)
		return ctx.Err()
	}, WithTTL(20*time.Second))
	assertLostBy(t, err, y, Forced)
	if seen.Reason() != Forced || seen.LostKey() != y {
		t.Fatal(seen.Reason(), seen.LostKey())
	}
	eventually(t, "the other key is free", func() bool { return rival.state(x).State == "free" })
}

func TestWhatIsNoBundleIsRefusedBeforeAnythingIsSent(t *testing.T) {
	client, err := New(Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]BundleKey{nil, Keys(""), {{Key: "x", Limit: -1}}, {{Key: "x", Limit: 10_001}}} {
		if _, err := client.TryBundle(background, keys); !errors.Is(err, ErrRefused) {
			t.Fatal(keys, err)
		}
	}
	for _, option := range []Option{WithMinHold(time.Second), WithShared(), WithTTL(0)} {
		if _, err := client.TryBundle(background, Keys("x"), option); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
}

func TestAFakeGrantsAllKeysOrNone(t *testing.T) {
	fake := NewFake()
	fake.Hold("y", "importer-7")
	_, err := fake.TryBundle(background, Keys("z", "y", "x"))
	if assertInTheWay(t, err, "y").Holder.Owner != "importer-7" || !slices.Equal(fake.Acquired(), []string{"y"}) {
		t.Fatal(err, fake.Acquired())
	}
	fake.Free("y")
	bundle := acquiredAll(t, fake.Client, []BundleKey{{Key: "z"}, {Key: "y", Shared: true}, {Key: "x"}})
	if !slices.Equal(bundle.Keys(), []string{"z", "y", "x"}) || !slices.Equal(fake.Acquired()[1:], []string{"x", "y", "z"}) {
		t.Fatal(bundle.Keys(), fake.Acquired())
	}
	for key, token := range bundle.Tokens() {
		if fake.Holder(key).Token != token {
			t.Fatal(key)
		}
	}
	released(t, acquired(t, fake.Client, "y", WithShared()))
	_, err = fake.TryBundle(background, Keys("x"))
	assertInTheWay(t, err, "x")
	if err := bundle.Release(); err != nil || fake.Holder("x") != nil || fake.Holder("z") != nil {
		t.Fatal(err)
	}
}

func TestABundleOfAFakeWaitsForOneKeyAfterAnother(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "other")
	fake.Hold("y", "other")
	_, err := fake.AcquireBundle(background, Keys("w", "x"), WithWait(30*time.Millisecond))
	if assertInTheWay(t, err, "x").Code != "wait-timeout" || fake.Holder("w") != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	acquire := func() {
		_, err := fake.AcquireBundle(background, Keys("y", "x"))
		ended <- err
	}
	go acquire()
	eventually(t, "it waits for x", func() bool { return fake.Waiters("x") == 1 })
	fake.Free("x")
	eventually(t, "it waits for y", func() bool { return fake.Waiters("y") == 1 })
	fake.Lose("x", Forced)
	assertInTheWay(t, within(t, "it ends with what it lost", ended), "x")
	go acquire()
	eventually(t, "it waits for y again", func() bool { return fake.Waiters("y") == 1 })
	fake.Free("y")
	if err := within(t, "it has all", ended); err != nil || fake.Holder("x") == nil {
		t.Fatal(err)
	}
}

func TestOneKeyThatIsLostLosesABundleOfAFake(t *testing.T) {
	fake := NewFake()
	bundle := acquiredAll(t, fake.Client, Keys("x", "y"))
	fake.Lose("y", Forced)
	within(t, "the signal of loss", bundle.Lost())
	assertLostBy(t, bundle.Check(), "y", Forced)
	assertLostBy(t, bundle.Release(), "y", Forced)
	if bundle.LostKey() != "y" || fake.Holder("x") != nil || fake.Holder("y") != nil {
		t.Fatal(bundle.LostKey())
	}
}

func TestAFakeRefusesAKeyTwiceAndFailsAsItIsTold(t *testing.T) {
	fake := NewFake()
	_, err := fake.AcquireBundle(background, Keys("x", "y", "x"))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "`x` is there twice") {
		t.Fatal(err)
	}
	for _, option := range []Option{WithWait(0), WithWait(time.Second)} {
		fake.Fail(&UnavailableError{})
		if _, err := fake.AcquireBundle(background, Keys("x"), option); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	acquiredAll(t, fake.Client, Keys("x"))
}

func TestAKeyThatIsNotUTF8IsRefused(t *testing.T) {
	key := "a\xff"
	_, err := aClient(t).TryBundle(background, Keys("b", key))
	var refusal *RefusedError
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "is not UTF-8") {
		t.Fatalf("expected a refusal, and got: %v", err)
	}
}
