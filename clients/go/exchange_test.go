package lockside

import (
	"bytes"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestABodyIsTheSameInWhateverPiecesItComes(t *testing.T) {
	chunked := textproto.MIMEHeader{"Transfer-Encoding": {"chunked"}}
	for _, row := range []struct {
		header     textproto.MIMEHeader
		raw, text  string
		isComplete bool
	}{
		{chunked, "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", true},
		{chunked, "3\r\nabc\r\n4\r\nde", "abcde", false},
		{textproto.MIMEHeader{"Content-Length": {"4"}}, "abcdefg", "abcd", true},
		{textproto.MIMEHeader{}, "abc", "abc", false},
	} {
		for size := 1; size <= len(row.raw); size++ {
			body, text := newBody(row.header), ""
			for raw := []byte(row.raw); len(raw) > 0; {
				part := raw[:min(size, len(raw))]
				raw = raw[len(part):]
				content, err := body.feed(part)
				if err != nil {
					t.Fatal(err)
				}
				text += string(content)
			}
			if text != row.text || body.isComplete != row.isComplete {
				t.Fatalf("in pieces of %d: %q, %v", size, text, body.isComplete)
			}
		}
	}
	for _, raw := range []string{"x\r\n", "-1\r\n", "fffffffffffffffff\r\n"} {
		if _, err := newBody(chunked).feed([]byte(raw)); err != errNotHTTP {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestWhatIsNoHTTPIsAnError(t *testing.T) {
	for _, head := range []string{"", "SSH-2.0-x", "HTTP/1.1", "HTTP/1.1 ok", "HTTP/1.1 99 x", "HTTP/1.1 200 OK\r\nno header"} {
		if _, _, err := parseHead([]byte(head + "\r\n\r\n")); err != errNotHTTP {
			t.Errorf("%q: %v", head, err)
		}
	}
}

// aHold is an exchange whose answer has begun, and the other end.
func aHold(t *testing.T, step time.Duration) (*exchange, net.Conn) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	exchange, err := dial(background, address{network: "unix", target: listener.Addr().String(), host: "localhost"}, tlsFiles{}, never, step)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exchange.close)
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if err = exchange.send("POST", "/", nil, nil, never); err != nil {
		t.Fatal(err)
	}
	write(t, other, "HTTP/1.1 200 OK\r\n\r\n")
	if status, _, err := exchange.head(never); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	return exchange, other
}

func write(t *testing.T, to net.Conn, text string) {
	t.Helper()
	if _, err := to.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestALineThatIsReadLateCountsFromBeforeItWasWritten(t *testing.T) {
	exchange, other := aHold(t, time.Second)
	write(t, other, "{\"event\":\"renewed\"}\n")
	written := now()
	// The process stands still.
	time.Sleep(200 * time.Millisecond)
	text, err := exchange.line(never)
	if err != nil || text.since > written || -written.left() < 200*time.Millisecond {
		t.Fatal(text, err)
	}
}

func TestALineThatIsWaitedForCountsFromTheLastLookAtTheSocket(t *testing.T) {
	step := 50 * time.Millisecond
	exchange, other := aHold(t, step)
	if _, err := exchange.line(now().after(4 * step)); err != errSilent {
		t.Fatal(err)
	}
	for turn := 0; turn < 5; turn++ {
		written := make(chan moment, 1)
		go func() {
			time.Sleep(5 * step / 2)
			before := now()
			_, _ = other.Write([]byte("{}\n"))
			written <- before
		}()
		text, err := exchange.line(never)
		before := <-written
		if err != nil || text.since > before || text.since < before-moment(20*step) {
			t.Fatalf("written at %d, counts from %d, %v", before, text.since, err)
		}
	}
}

func TestALineInPiecesCountsFromItsFirstPiece(t *testing.T) {
	exchange, other := aHold(t, 20*time.Millisecond)
	write(t, other, "{}\n{\"event\":")
	if _, err := exchange.line(never); err != nil {
		t.Fatal(err)
	}
	first := now()
	if _, err := exchange.line(now().after(200 * time.Millisecond)); err != errSilent {
		t.Fatal(err)
	}
	write(t, other, "\"renewed\"}\n{}\n")
	text, err := exchange.line(never)
	if err != nil || text.since > first || !bytes.Equal(text.text, []byte(`{"event":"renewed"}`)) {
		t.Fatal(text, err)
	}
	// The line behind it came in one piece, and later.
	if text, err = exchange.line(never); err != nil || text.since < first {
		t.Fatal(text, err)
	}
}

func TestTheEndOfAConnectionAndAnEndlessLineAreErrors(t *testing.T) {
	exchange, other := aHold(t, time.Second)
	other.Close()
	if _, err := exchange.line(never); err != errClosed {
		t.Fatal(err)
	}
	exchange, other = aHold(t, time.Second)
	go func() { _, _ = other.Write([]byte(strings.Repeat("x", 2*longestLine))) }()
	if _, err := exchange.line(never); err == nil {
		t.Fatal("it was taken")
	}
}

func TestMomentsDoNotOverflow(t *testing.T) {
	if now().after(forever) != never || never.after(time.Second) != never || !never.deadline().IsZero() {
		t.Fatal("beyond the end of time")
	}
	if before := now(); before.after(-time.Second) >= before || before.left() > 0 {
		t.Fatal("the clock")
	}
}
