package lockside

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// A script is a sidecar that says what a test has it say.
type script struct {
	t        *testing.T
	holds    chan net.Conn
	released chan string
}

func aScript(t *testing.T) (*script, *Client) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &script{t, make(chan net.Conn), make(chan string, 10)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	client, err := New(Config{URL: "unix:" + listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	return s, client
}

func (s *script) serve(conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		conn.Close()
		return
	}
	if request.Method == "DELETE" {
		s.released <- request.URL.Query().Get("token")
		fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		conn.Close()
		return
	}
	s.holds <- conn
}

func (s *script) grant(conn net.Conn, token int) {
	write(s.t, conn, "HTTP/1.1 200 OK\r\n\r\n")
	write(s.t, conn, fmt.Sprintf(`{"event":"acquired","token":%d,"owner":"me","validForMs":20000}`+"\n", token))
}

func TestALockWhoseRepetitionIsOnItsWayIsSupersededOnlyIfThatOneDoesNotHaveIt(t *testing.T) {
	for name, row := range map[string]struct {
		answer func(s *script, conn net.Conn)
		reason Reason
	}{
		"the same lease":  {func(s *script, conn net.Conn) { s.grant(conn, 7) }, ""},
		"another lease":   {func(s *script, conn net.Conn) { s.grant(conn, 8) }, Expired},
		"no answer":       {func(s *script, conn net.Conn) { conn.Close() }, Superseded},
		"another's lease": {func(s *script, conn net.Conn) { refuse(s, conn) }, Superseded},
	} {
		t.Run(name, func(t *testing.T) {
			s, client := aScript(t)
			granted := make(chan net.Conn)
			go func() {
				conn := <-s.holds
				s.grant(conn, 7)
				granted <- conn
			}()
			lock := acquired(t, client, "x")
			first := within(t, "the hold", granted)
			write(t, first, `{"event":"draining","graceMs":10000}`+"\n")
			second := within(t, "the repetition", s.holds)
			write(t, first, `{"event":"lost","reason":"superseded"}`+"\n")
			eventually(t, "the first connection is closed", func() bool {
				_, err := first.Read(make([]byte, 1))
				return err == io.EOF
			})
			if err := lock.Check(); err != nil {
				t.Fatal(err)
			}
			row.answer(s, second)
			if row.reason == "" {
				eventually(t, "it is held there", func() bool { return isHeldAgain(lock) })
				if err := lock.Release(); err != nil {
					t.Fatal(err)
				}
				return
			}
			within(t, "the loss", lock.Lost())
			assertLost(t, lock.Check(), row.reason)
			if row.reason == Expired {
				if token := within(t, "the new lease is released", s.released); token != "8" {
					t.Fatal(token)
				}
			}
		})
	}
}

// isHeldAgain tells whether a connection that does not drain holds it.
func isHeldAgain(lock *Lock) bool {
	session := lock.holding.(*session)
	session.mu.Lock()
	defer session.mu.Unlock()
	return session.exchange != nil && session.leaveBy == never && session.state == held
}

func refuse(s *script, conn net.Conn) {
	problem := `{"code":"held","outcome":"not-applied","holder":{"owner":"rival","token":9}}`
	write(s.t, conn, fmt.Sprintf("HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n%s", len(problem), problem))
}
