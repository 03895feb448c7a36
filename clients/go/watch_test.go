package lockside

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// next are the next events of a watch.
func next(t *testing.T, watch *Watch, count int) []Event {
	t.Helper()
	events := make([]Event, count)
	for place := range events {
		select {
		case event, isOpen := <-watch.Events():
			if !isOpen {
				t.Fatalf("after %+v it ended: %v", events[:place], watch.Err())
			}
			events[place] = event
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing after %+v", events[:place])
		}
	}
	return events
}

func types(events []Event) string {
	var names []string
	for _, event := range events {
		names = append(names, string(event.Type))
	}
	return strings.Join(names, " ")
}

func expect(t *testing.T, watch *Watch, expected string) []Event {
	t.Helper()
	events := next(t, watch, len(strings.Fields(expected)))
	if types(events) != expected {
		t.Fatalf("%+v, not %s", events, expected)
	}
	return events
}

func watching(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(background)
	t.Cleanup(cancel)
	return ctx
}

func TestAWatchTellsTheStateAndThenChanges(t *testing.T) {
	key, client, rival := unique(), aClient(t), aRival(t)
	watch := client.Watch(watching(t), key)
	if events := next(t, watch, 2); !reflect.DeepEqual(events, []Event{{Type: EventState, Key: key, State: Free}, {Type: EventSynced}}) {
		t.Fatalf("%+v", events)
	}
	token := rival.take(key)
	granted := expect(t, watch, "granted")[0]
	if granted.Token != token || granted.Holder.Owner != "rival" || granted.Holder.Token != token {
		t.Fatalf("%+v", granted)
	}
	rival.free(key, token)
	if released := next(t, watch, 1)[0]; !reflect.DeepEqual(released, Event{Type: EventReleased, Key: key, Token: token}) {
		t.Fatalf("%+v", released)
	}
	lock, err := client.Try(background, key)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	expect(t, watch, "granted")
	if state := expect(t, lock.Watch(watching(t)), "state synced")[0]; state.Holder.Token != lock.Token() || state.State != Held {
		t.Fatalf("%+v", state)
	}
}

func TestAContextEndsAWatchAndItsGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancelCause(background)
	watch := aClient(t).WatchPrefix(ctx, unique())
	expect(t, watch, "synced")
	if err := watch.Err(); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	cancel(cause)
	if _, isOpen := <-watch.Events(); isOpen || !errors.Is(watch.Err(), context.Canceled) || !errors.Is(watch.Err(), cause) {
		t.Fatal(watch.Err())
	}
	// One that is not read ends, too.
	ctx, stop := context.WithCancel(background)
	unread := aClient(t).Watch(ctx, unique())
	stop()
	within(t, "it ends", unread.ended)
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestAKeyThatCannotBeWatchedEndsTheWatch(t *testing.T) {
	for key, code := range map[string]string{strings.Repeat("x", 2000): "bad-request", "": ""} {
		watch := aClient(t).Watch(watching(t), key)
		_, isOpen := <-watch.Events()
		var refusal *RefusedError
		if err := watch.Err(); isOpen || !errors.As(err, &refusal) || refusal.Code != code {
			t.Fatalf("%#v", err)
		}
	}
}

const (
	aStream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 100\n\n"
	synced  = "event: synced\ndata: {\"later\": 7}\n\n"
)

// answering is a client whose sidecar answers one connection after another so, and leaves them open; and the connections.
func answering(t *testing.T, answers ...string) (*Client, <-chan net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	conns := make(chan net.Conn, len(answers))
	go func() {
		for _, answer := range answers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(answer))
			conns <- conn
		}
	}()
	client, err := New(Config{URL: "unix:" + path})
	if err != nil {
		t.Fatal(err)
	}
	return client, conns
}

func TestAGapIsToldOnceUntilSomethingElseIs(t *testing.T) {
	gap := "event: gap\ndata: {}\n\n"
	client, conns := answering(t, aStream+synced+"event: later\ndata: 7\n\n: a comment\r\n\r\n"+gap, aStream+gap+synced)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	watch := client.WatchPrefix(ctx, "")
	expect(t, watch, "synced gap")
	within(t, "a connection", conns).Close()
	expect(t, watch, "synced")
	second := within(t, "another connection", conns)
	cancel()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection goes on")
	}
}

func TestAWatchWaitsAsRetryAfterSays(t *testing.T) {
	client, _ := answering(t, "HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", aStream+synced)
	start := time.Now()
	expect(t, client.WatchPrefix(watching(t), ""), "synced")
	if took := time.Since(start); took < time.Second {
		t.Fatal(took)
	}
}

func TestWhatIsNoStreamOfEventsIsRefused(t *testing.T) {
	client, _ := answering(t, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
	watch := client.Watch(watching(t), "x")
	if _, isOpen := <-watch.Events(); isOpen || !errors.Is(watch.Err(), ErrRefused) {
		t.Fatal(watch.Err())
	}
}

func TestAnEventWithoutEndAndWhatIsNoJSONBreakTheStream(t *testing.T) {
	endless := aStream + synced + "data: " + strings.Repeat("x", longestEvent+100)
	client, _ := answering(t, endless, aStream+synced+"event: state\ndata: {\n\n", aStream+synced)
	expect(t, client.WatchPrefix(watching(t), ""), "synced gap synced gap synced")
}

func TestServerSentEventsAreParsedHoweverTheyAreCut(t *testing.T) {
	text := "retry: 1042\n\nevent: state\r\ndata: {\"key\":\"ä\"}\r\n\r\nevent: nothing\n\nevent:later\nid: 7\ndata: a\ndata: b\n\ndata\n\n"
	expected := []string{"state", `{"key":"ä"}`, "later", "a\nb", "", ""}
	for _, size := range []int{1, 2, 3, 7, 1000} {
		var parser eventParser
		var told []string
		for rest := text; rest != ""; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			events, err := parser.feed([]byte(part))
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range events {
				told = append(told, event.name, string(event.data))
			}
		}
		if !reflect.DeepEqual(told, expected) || parser.retry != 1042*time.Millisecond {
			t.Fatal(size, told, parser.retry)
		}
	}
}

func TestPausesGrowToAFewSeconds(t *testing.T) {
	course := courseOfKey("x", nil)
	for _, span := range []time.Duration{1, 2, 4, 5, 5, 5} {
		if err := course.broken(errClosed); err != nil {
			t.Fatal(err)
		}
		if left := course.resumeAt.left(); left < span*time.Second-100*time.Millisecond || left > span*time.Second*5/4 {
			t.Fatal(span, left)
		}
	}
	for _, status := range []int{400, 401, 403, 404} {
		if err := course.broken(&RefusedError{Failure{Status: status}}); err == nil {
			t.Fatal(status)
		}
	}
	if err := course.broken(&RefusedError{Failure{Status: 429, RetryAfter: time.Minute}}); err != nil || course.resumeAt.left() < 59*time.Second {
		t.Fatal(err, course.resumeAt.left())
	}
}

func TestAFakeTellsWhatHappensToThoseWhoWatch(t *testing.T) {
	fake := NewFake()
	fake.Hold("x", "importer-7")
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	key, every, other := fake.Watch(ctx, "x"), fake.WatchPrefix(ctx, ""), fake.Watch(ctx, "y")
	first := next(t, key, 2)
	expect(t, every, "state synced")
	expect(t, other, "state synced")
	if _, err := fake.Acquire(background, "x", WithWait(10*time.Millisecond)); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	fake.Free("x")
	lock, err := fake.Try(background, "x", WithRest(time.Second))
	if err != nil || lock.Release() != nil {
		t.Fatal(err)
	}
	fake.Free("x")
	if lock, err = fake.Try(background, "x"); err != nil {
		t.Fatal(err)
	}
	fake.Lose("x", Forced)
	fake.Gap()
	const changes = "waiting waiting released granted released expired granted forced gap"
	told := expect(t, key, changes+" state synced")
	if first[0].State != Held || first[0].Holder.Owner != "importer-7" || first[0].Token != told[2].Token {
		t.Fatalf("%+v", first)
	}
	if told[0].Waiters != 1 || told[1].Waiters != 0 || told[4].State != Resting || told[9].State != Free || told[7].Token != lock.Token() {
		t.Fatalf("%+v", told)
	}
	expect(t, every, changes+" synced")
	expect(t, other, "gap state synced")
	cancel()
	if _, isOpen := <-key.Events(); isOpen || !errors.Is(key.Err(), context.Canceled) {
		t.Fatal(key.Err())
	}
}
