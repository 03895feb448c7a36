package lockside_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	lockside "lockside.example/go"
)

// newClient stands for lockside.New(lockside.Config{}), so that the examples need no sidecar.
func newClient() *lockside.Client { return lockside.NewFake().Client }

func ExampleClient_Do() {
	client, ctx := newClient(), context.Background()
	err := client.Do(ctx, "night-report", func(ctx context.Context, lock *lockside.Lock) error {
		if err := lock.Check(); err != nil {
			return err
		}
		fmt.Println("fencing token", lock.Token())
		return nil
	}, lockside.WithTTL(10*time.Second), lockside.WithWait(time.Minute))
	fmt.Println(err)
	// Output:
	// fencing token 1
	// <nil>
}

func ExampleClient_Acquire() {
	client, ctx := newClient(), context.Background()
	// The context bounds the wait, and not the time for which the lock is held.
	waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lock, err := client.Acquire(waiting, "volume/7")
	if err != nil {
		fmt.Println("not acquired:", err)
		return
	}
	defer lock.Release()
	fmt.Println("held with fencing token", lock.Token())
	// Output: held with fencing token 1
}

func ExampleClient_Try() {
	fake := lockside.NewFake()
	fake.Hold("volume/7", "importer-7")
	_, err := fake.Try(context.Background(), "volume/7")
	var held *lockside.HeldError
	if errors.As(err, &held) {
		fmt.Println("skipped, since it is held by", held.Holder.Owner)
	}
	// Output: skipped, since it is held by importer-7
}

func ExampleClient_DoBundle() {
	client, ctx := newClient(), context.Background()
	err := client.DoBundle(ctx, lockside.Keys("account-2", "account-1"), func(ctx context.Context, bundle *lockside.Bundle) error {
		for _, key := range bundle.Keys() {
			fmt.Println("writing", key, "with fencing token", bundle.Tokens()[key])
		}
		return bundle.Check()
	}, lockside.WithWait(5*time.Second))
	fmt.Println(err)
	// Output:
	// writing account-2 with fencing token 2
	// writing account-1 with fencing token 1
	// <nil>
}

func ExampleLock_Context() {
	fake := lockside.NewFake()
	lock, err := fake.Acquire(context.Background(), "volume/7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Release()
	ctx, cancel := lock.Context(context.Background())
	defer cancel()

	fake.Lose("volume/7", lockside.Forced)
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	// Output: lockside: the lock `volume/7` was lost: forced
}

func ExampleFake() {
	// The code under test.
	edit := func(client *lockside.Client) error {
		return client.Do(context.Background(), "volume/7", func(ctx context.Context, lock *lockside.Lock) error {
			return lock.Check()
		}, lockside.WithWait(0))
	}

	fake := lockside.NewFake()
	fake.Hold("volume/7", "importer-7")
	fmt.Println(errors.Is(edit(fake.Client), lockside.ErrHeld))
	fake.Free("volume/7")
	fmt.Println(edit(fake.Client))
	fake.Fail(&lockside.UnavailableError{})
	fmt.Println(errors.Is(edit(fake.Client), lockside.ErrUnavailable))
	// Output:
	// true
	// <nil>
	// true
}
