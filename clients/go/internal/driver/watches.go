package main

import (
	"context"

	lockside "lockside.example/go"
)

// A reader reads the events of a watch.
type reader struct {
	stop  context.CancelFunc
	ended chan struct{}
	// Receives once for each stall, and again to go on.
	stalls chan struct{}
}

func (d *driver) watch(asked request) {
	d.mu.Lock()
	old := d.readers[asked.Watch]
	d.mu.Unlock()
	switch asked.Op {
	case "unwatch":
		old.stop()
		<-old.ended
		return
	case "stall", "resume":
		old.stalls <- struct{}{}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	begun := &reader{cancel, make(chan struct{}), make(chan struct{})}
	d.mu.Lock()
	d.readers[asked.Watch] = begun
	d.mu.Unlock()
	if asked.Key != "" {
		go begun.read(ctx, asked.Watch, d.client.Watch(ctx, asked.Key))
	} else {
		go begun.read(ctx, asked.Watch, d.client.WatchPrefix(ctx, asked.Prefix))
	}
}

func (r *reader) read(ctx context.Context, name string, watch *lockside.Watch) {
	defer close(r.ended)
	for isOpen := true; isOpen; {
		var event lockside.Event
		select {
		case <-r.stalls:
			<-r.stalls
		case event, isOpen = <-watch.Events():
			if isOpen {
				tell(name, event)
			}
		}
	}
	said := fields{"event": "ended", "watch": name, "error": nil}
	if ctx.Err() == nil {
		said["error"] = view(watch.Err())
	}
	say(said)
}

func tell(name string, event lockside.Event) {
	said := fields{
		"event": "watched", "watch": name, "type": event.Type, "key": nil, "token": nil, "waiters": event.Waiters,
		"state": orNil(event.State), "mode": orNil(event.Mode), "sharedBy": orNil(event.SharedBy), "holder": holderView(event.Holder),
	}
	if event.Key != "" {
		said["key"], said["token"] = event.Key, event.Token
	}
	holders := []any{}
	for _, holder := range event.Holders {
		holders = append(holders, holderView(holder))
	}
	said["holders"] = holders
	say(said)
}
