// A write that carries the fencing token: the storage refuses a holder that was paused past its lease.
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	lockside "lockside.example/go"
)

// Volumes stands for a table; a database compares in one statement: UPDATE … WHERE token <= $1.
type Volumes struct {
	mu   sync.Mutex
	rows map[int]Volume
}

// A Volume has the highest token that it was written with.
type Volume struct {
	text  string
	token int64
}

// Save refuses a token that is lower than the highest.
func (v *Volumes) Save(id int, text string, token int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if highest := v.rows[id].token; token < highest {
		return fmt.Errorf("volume %d was written with token %d, above %d", id, highest, token)
	}
	v.rows[id] = Volume{text, token}
	return nil
}

func main() {
	client, err := lockside.New(lockside.Config{})
	if err != nil {
		log.Fatal(err)
	}
	volumes := &Volumes{rows: map[int]Volume{}}
	edit := func(texts ...string) (token int64) {
		work := func(ctx context.Context, lock *lockside.Lock) error {
			token = lock.Token()
			for _, text := range texts {
				if err := volumes.Save(7, text, token); err != nil {
					return err
				}
			}
			return nil
		}
		options := []lockside.Option{lockside.WithTTL(10 * time.Second), lockside.WithWait(time.Minute)}
		if err := client.Do(context.Background(), "examples/volume/7", work, options...); err != nil {
			log.Fatal(err)
		}
		return token
	}

	first := edit("first edition")
	edit("second edition", "second edition, corrected")

	// The first holder wakes up, and does not know yet that its time has passed.
	err = volumes.Save(7, "first edition, corrected", first)
	if err == nil {
		log.Fatal("a late write was taken")
	}
	fmt.Println("refused:", err)
}
