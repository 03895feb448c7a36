// One of many replicas writes the nightly report. Start it twice at once: one writes, the other one skips.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	lockside "lockside.example/go"
)

func main() {
	client, err := lockside.New(lockside.Config{})
	if err == nil {
		meta := lockside.WithMeta(map[string]string{"job": "night-report"})
		err = client.Do(context.Background(), "examples/night-report", report,
			lockside.WithTTL(10*time.Second), lockside.WithWait(0), meta)
	}
	switch {
	case errors.Is(err, lockside.ErrHeld):
		fmt.Println("skipped:", err)
	case err != nil:
		fmt.Println("not done:", err)
		os.Exit(1)
	}
}

func report(ctx context.Context, lock *lockside.Lock) error {
	for page := 0; page < 5; page++ {
		if err := lock.Check(); err != nil {
			return err
		}
		fmt.Printf("page %d, fencing token %d\n", page, lock.Token())
	}
	return nil
}
