// Driver is the driver of the conformance suite: lines of JSON on stdin and stdout, see clients/conformance/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	lockside "lockside.example/go"
)

type request struct {
	ID            int             `json:"id"`
	Op            string          `json:"op"`
	URL           string          `json:"url"`
	IdleTimeoutMs int             `json:"idleTimeoutMs"`
	Lock          string          `json:"lock"`
	Key           string          `json:"key"`
	Keys          []keyOption     `json:"keys"`
	Owner         string          `json:"owner"`
	Meta          json.RawMessage `json:"meta"`
	TTLMs         int64           `json:"ttlMs"`
	WaitMs        int64           `json:"waitMs"`
	DelayMs       int64           `json:"delayMs"`
	MinHoldMs     int64           `json:"minHoldMs"`
	MaxHoldMs     int64           `json:"maxHoldMs"`
	RestMs        int64           `json:"restMs"`
	Shared        bool            `json:"shared"`
	Limit         int             `json:"limit"`
	Count         int             `json:"count"`
	Ms            int64           `json:"ms"`
	ThenCheck     string          `json:"thenCheck"`
	Command       []string        `json:"command"`
	Election      string          `json:"election"`
	ForMs         int64           `json:"forMs"`
	Watch         string          `json:"watch"`
	Prefix        string          `json:"prefix"`
}

type fields map[string]any

type driver struct {
	client *lockside.Client

	mu      sync.Mutex
	locks   map[string]holding
	cancels map[string]context.CancelFunc
	leaders map[string]*lockside.Leader
	readers map[string]*reader
}

func main() {
	d := &driver{
		locks: map[string]holding{}, cancels: map[string]context.CancelFunc{}, leaders: map[string]*lockside.Leader{},
		readers: map[string]*reader{},
	}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		var asked request
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			slog.Error("no request", "error", err)
			os.Exit(2)
		}
		if asked.Op == "configure" || asked.Op == "acquire" || asked.Op == "bundle" {
			// Before what comes next: it may cancel this one.
			d.prepare(asked)
		}
		go d.answer(asked)
	}
	// The ordinary end of a program that still holds its locks.
}

var saying sync.Mutex

func say(message fields) {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	saying.Lock()
	defer saying.Unlock()
	fmt.Printf("%s\n", text)
}

func (d *driver) answer(asked request) {
	answer, err := d.do(asked)
	if err != nil {
		say(fields{"id": asked.ID, "ok": false, "error": view(err)})
		return
	}
	said := fields{"id": asked.ID, "ok": true}
	for name, value := range answer {
		said[name] = value
	}
	say(said)
}

func (d *driver) lock(name string) holding {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locks[name]
}

func (d *driver) do(asked request) (fields, error) {
	switch asked.Op {
	case "configure":
		return nil, nil
	case "acquire":
		return d.acquire(asked)
	case "bundle":
		return d.bundle(asked)
	case "cancel":
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cancels[asked.Lock]()
		return nil, nil
	case "check":
		return nil, d.lock(asked.Lock).Check()
	case "release":
		err := d.lock(asked.Lock).Release()
		isUnconfirmed := errors.Is(err, lockside.ErrUnknownOutcome)
		if isUnconfirmed {
			err = nil
		}
		return fields{"confirmed": !isUnconfirmed}, err
	case "leader":
		return d.leader(asked.Election)
	case "isLeader":
		d.mu.Lock()
		defer d.mu.Unlock()
		return fields{"isLeader": d.leaders[asked.Election].IsLeader()}, nil
	case "resign":
		return nil, d.client.Resign(context.Background(), asked.Election, time.Duration(asked.ForMs)*time.Millisecond)
	case "watch", "unwatch", "stall", "resume":
		d.watch(asked)
		return nil, nil
	case "cycle":
		return d.cycle(asked)
	case "drop":
		d.mu.Lock()
		delete(d.locks, asked.Lock)
		d.mu.Unlock()
		runtime.GC()
		return nil, nil
	case "fork":
		// Go does not fork: a child has what a program has that is started.
		answer, err := start([]string{"sleep", fmt.Sprint(float64(asked.Ms) / 1000)})
		if err != nil {
			return nil, err
		}
		answer["childHolds"] = nil
		return answer, nil
	case "exec":
		return start(asked.Command)
	case "block":
		return nil, d.block(asked)
	}
	return nil, fmt.Errorf("no operation `%s`", asked.Op)
}

func (d *driver) prepare(asked request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if asked.Op != "configure" {
		d.cancels[asked.Lock] = func() {}
		return
	}
	if asked.IdleTimeoutMs > 0 {
		idle := time.Duration(asked.IdleTimeoutMs) * time.Millisecond
		http.DefaultClient.Timeout = idle
		http.DefaultTransport.(*http.Transport).IdleConnTimeout = idle
		http.DefaultTransport.(*http.Transport).ResponseHeaderTimeout = idle
	}
	client, err := lockside.New(lockside.Config{URL: asked.URL, Logger: slog.New(leaks{})})
	if err != nil {
		slog.Error("no client", "error", err)
		os.Exit(2)
	}
	d.client = client
}
