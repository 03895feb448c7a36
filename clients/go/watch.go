package lockside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// silence is the longest one of a stream: the sidecar writes a comment every 15 s.
const silence = 45 * time.Second

// A Watch tells what happens to a lock, or to all whose keys have a prefix. It connects again by itself.
type Watch struct {
	events chan Event
	ended  chan struct{}
	err    error
}

// Events has the states, [EventSynced], and then each change. When changes may have been missed, [EventGap] comes, and the
// states again; so also when the sidecar or Redis was unavailable for a while. It is closed when the watch ends.
//
// Nothing is read ahead: what a slow reader does not take stays at the sidecar, which drops it and tells of a gap.
func (w *Watch) Events() <-chan Event { return w.events }

// Err is why the watch has ended: its context's error, or a [*RefusedError] if it cannot be watched, because the sidecar does
// not allow it or the key is not valid. It is nil while the watch goes on.
func (w *Watch) Err() error {
	select {
	case <-w.ended:
		return w.err
	default:
		return nil
	}
}

// Watch tells what happens to a lock, until the context is done. Cancel the context when you stop reading.
func (c *Client) Watch(ctx context.Context, key string) *Watch {
	if key == "" {
		return watchOf(ctx, func(func(Event) bool) error { return refused(key, errors.New("the key is empty")) })
	}
	return c.watch(ctx, courseOfKey(key, c.logger))
}

// WatchPrefix tells what happens to all locks whose keys begin with the prefix, as [Client.Watch] does.
func (c *Client) WatchPrefix(ctx context.Context, prefix string) *Watch {
	return c.watch(ctx, courseOfPrefix(prefix, c.logger))
}

func (c *Client) watch(ctx context.Context, course *course) *Watch {
	return watchOf(ctx, func(tell func(Event) bool) error { return c.follow(ctx, course, tell) })
}

// watchOf runs what tells the events, in a goroutine. It ends with an error.
func watchOf(ctx context.Context, follow func(tell func(Event) bool) error) *Watch {
	watch := &Watch{events: make(chan Event), ended: make(chan struct{})}
	tell := func(event Event) bool {
		select {
		case watch.events <- event:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(watch.events)
		defer close(watch.ended)
		watch.err = follow(tell)
	}()
	return watch
}

// follow tells the events of a course over all its connections.
func (s *sidecar) follow(ctx context.Context, course *course, tell func(Event) bool) error {
	for {
		err := s.stream(ctx, course, tell)
		if ctx.Err() != nil {
			return done(ctx, "stopped watching", course.name)
		}
		if err = course.broken(err); err != nil {
			return err
		}
		if tellAll(course, tell) {
			pause(ctx, course.resumeAt.left())
		}
	}
}

// stream tells the events of one connection, until that ends.
func (s *sidecar) stream(ctx context.Context, course *course, tell func(Event) bool) error {
	headers, err := s.headers()
	if err != nil {
		message := fmt.Sprintf("`%s`: the token file: %v", course.name, err)
		return &RefusedError{Failure{Key: course.name, Outcome: NotApplied, Message: message, cause: err}}
	}
	exchange, err := dial(ctx, s.address, s.tls, now().after(s.timeout), s.timeout)
	if err != nil {
		return fmt.Errorf("cannot connect to lockside at %v: %w; is it running?", s.address, err)
	}
	defer exchange.close()
	stop := context.AfterFunc(ctx, exchange.close)
	defer stop()
	// The sidecar first reads the state of every shard.
	until := now().after(2 * s.timeout)
	if err = exchange.send("GET", course.path, headers, nil, until); err == nil {
		err = exchange.beginStream(course.name, until)
	}
	if err != nil {
		return err
	}
	for course.begin(); ; {
		content, err := exchange.part(now().after(silence))
		if err == nil {
			err = course.take(content)
		}
		if !tellAll(course, tell) || err != nil {
			return err
		}
	}
}

// tellAll is false if the context is done.
func tellAll(course *course, tell func(Event) bool) bool {
	for _, event := range course.next() {
		if !tell(event) {
			return false
		}
	}
	return true
}

// beginStream reads the head of a stream of events, or why there is none.
func (e *exchange) beginStream(name string, until moment) error {
	status, header, err := e.head(until)
	if err != nil {
		return err
	}
	if status != 200 {
		var answer problem
		_ = json.Unmarshal(e.rest(until), &answer)
		answer.Status = status
		return answer.failure(name, header.Get("Retry-After"))
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		message := fmt.Sprintf("`%s`: what came is no stream of events; does the URL name lockside's API?", name)
		return &RefusedError{Failure{Key: name, Outcome: NotApplied, Status: status, Message: message}}
	}
	return nil
}
