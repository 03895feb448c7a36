package lockside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"sort"
	"strings"
	"syscall"
	"time"
)

const (
	longestHead = 64 << 10
	longestLine = 1 << 20
)

var (
	// errSilent: nothing came in time.
	errSilent = errors.New("no answer in time")
	errClosed = errors.New("the sidecar closed the connection")
)

// An exchange is one request on a connection of its own, and its answer: whole, or line by line. Not net/http: a hold must
// know since when nothing lay unread in its socket, and no proxy, pool or default timeout may come in between.
type exchange struct {
	conn   net.Conn
	socket syscall.RawConn
	// Below TLS; otherwise conn itself, and no records.
	raw     net.Conn
	records *records
	// Over TLS: more of the last record may be there.
	mayHaveMore bool
	host        string
	// How long the socket is waited for at once; so much of a validity may be given away.
	step time.Duration
	body *body
	text []byte
	// What is read now came after this moment: nothing lay unread in the socket then.
	quietAt moment
	// The same for the first byte of the line that has come in part.
	lineSince moment
	buffer    [8192]byte
}

// A line of a hold, and a moment that it cannot have been written before: its validity is counted from there, so that a line
// that is read late does not count for too long.
type line struct {
	text  []byte
	since moment
}

// dial connects. If it fails, nothing was sent.
func dial(ctx context.Context, to address, files tlsFiles, until moment, step time.Duration) (*exchange, error) {
	dialer := net.Dialer{Deadline: until.deadline()}
	conn, err := dialer.DialContext(ctx, to.network, to.target)
	if err != nil {
		return nil, err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	e := &exchange{conn: conn, raw: conn, socket: raw, host: to.host, step: min(max(step, 20*time.Millisecond), time.Second)}
	if to.certified == "" {
		return e, nil
	}
	if deadline := until.deadline(); !deadline.IsZero() {
		limited, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		ctx = limited
	}
	if e.conn, e.records, err = files.secure(ctx, conn, to.certified); err != nil {
		conn.Close()
		return nil, err
	}
	return e, nil
}

func (e *exchange) send(method, path string, headers map[string]string, content []byte, until moment) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", method, path, e.host, len(content))
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&text, "%s: %s\r\n", name, headers[name])
	}
	text.WriteString("\r\n")
	text.Write(content)
	e.quietAt = now()
	e.lineSince = e.quietAt
	if err := e.conn.SetWriteDeadline(until.deadline()); err != nil {
		return err
	}
	_, err := e.conn.Write([]byte(text.String()))
	return err
}

// head is the status and the headers, which come before until.
func (e *exchange) head(until moment) (int, textproto.MIMEHeader, error) {
	for {
		head, rest, isWhole := bytes.Cut(e.text, []byte("\r\n\r\n"))
		if isWhole {
			status, header, err := parseHead(append(head[:len(head):len(head)], "\r\n\r\n"...))
			if err != nil {
				return 0, nil, err
			}
			e.body = newBody(header)
			e.text, err = e.body.feed(bytes.Clone(rest))
			return status, header, err
		}
		if len(e.text) > longestHead {
			return 0, nil, errNotHTTP
		}
		part, err := e.receive(until)
		if err != nil {
			return 0, nil, err
		}
		e.text = append(e.text, part...)
	}
}

// rest is the whole body, or as much of it as comes before until.
func (e *exchange) rest(until moment) []byte {
	for !e.body.isComplete && len(e.text) < longestLine {
		part, err := e.receive(until)
		if err != nil {
			break
		}
		content, err := e.body.feed(part)
		e.text = append(e.text, content...)
		if err != nil {
			break
		}
	}
	return e.text
}

// part is the part of the body that comes next, before until. It is empty where only framing has come, and valid until the
// next call.
func (e *exchange) part(until moment) ([]byte, error) {
	if len(e.text) > 0 {
		part := e.text
		e.text = nil
		return part, nil
	}
	if e.body.isComplete {
		return nil, errClosed
	}
	if err := e.conn.SetReadDeadline(until.deadline()); err != nil {
		return nil, err
	}
	count, err := e.conn.Read(e.buffer[:])
	switch {
	case count > 0:
		return e.body.feed(e.buffer[:count])
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSilent
	case errors.Is(err, io.EOF):
		return nil, errClosed
	}
	return nil, err
}

// line is the next one. It fails with errSilent if none comes before until, and may be asked for again then.
func (e *exchange) line(until moment) (line, error) {
	for {
		if text, rest, isWhole := bytes.Cut(e.text, []byte("\n")); isWhole {
			since := e.lineSince
			// What follows came with the last read.
			e.text, e.lineSince = rest, e.quietAt
			return line{text, since}, nil
		}
		if len(e.text) > longestLine {
			return line{}, errors.New("a line is too long")
		}
		if e.body.isComplete {
			return line{}, errClosed
		}
		part, err := e.receive(until)
		if err != nil {
			return line{}, err
		}
		if len(e.text) == 0 {
			e.lineSince = e.quietAt
		}
		content, err := e.body.feed(part)
		if err != nil {
			return line{}, err
		}
		// Lines that were handed out keep their bytes.
		e.text = append(e.text[:len(e.text):len(e.text)], content...)
	}
}

// receive is what comes next. The socket is looked at in steps: while it is quiet, what comes later was written later.
func (e *exchange) receive(until moment) ([]byte, error) {
	for {
		looked := now()
		if e.isQuiet() {
			e.quietAt = looked
		}
		left := until.left()
		if left <= 0 {
			return nil, errSilent
		}
		if err := e.conn.SetReadDeadline(time.Now().Add(min(left, e.step))); err != nil {
			return nil, err
		}
		count, err := e.conn.Read(e.buffer[:])
		switch {
		case count > 0:
			e.mayHaveMore = count == len(e.buffer)
			return e.buffer[:count], nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, io.EOF):
			return nil, errClosed
		case err != nil:
			return nil, err
		}
	}
}

// isQuiet tells whether nothing lies unread, in the socket or behind it.
func (e *exchange) isQuiet() bool {
	return isQuiet(e.socket) && (e.records == nil || (e.records.isWhole() && !e.mayHaveMore))
}

// close ends the connection: it is shut down first, which ends it even while a program that is just being started has a copy.
func (e *exchange) close() {
	if half, ok := e.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = e.raw.Close()
}

// decode reads one line of a hold.
func (l line) decode(into any) error {
	if err := json.Unmarshal(l.text, into); err != nil {
		return errors.New("the answer has a line that is no JSON; does the URL name lockside's API?")
	}
	return nil
}
