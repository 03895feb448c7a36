package lockside

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// What a test does at the sidecar as another caller. The sidecar is that of clients/conformance/with_sidecar.py.
type rival struct {
	t   *testing.T
	url string
}

func aRival(t *testing.T) rival {
	t.Helper()
	url := os.Getenv("LOCKSIDE_URL")
	if url == "" {
		t.Fatal("no sidecar: run these tests by clients/conformance/with_sidecar.py")
	}
	return rival{t, url}
}

func aClient(t *testing.T) *Client {
	t.Helper()
	client, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var number atomic.Int64

// unique is a key of this test alone.
func unique() string {
	return fmt.Sprintf("test/%d/%d", os.Getpid(), number.Add(1))
}

type seen struct {
	State   string
	Waiters int
	Token   int64
	Holder  *struct {
		Owner string
		Token int64
		Meta  json.RawMessage
	}
}

func (r rival) ask(method, key, query string, body any) seen {
	r.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequest(method, r.url+"/v1/locks/"+url.PathEscape(key)+query, bytes.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		r.t.Fatalf("%s %s: %s", method, key, answer.Status)
	}
	var view seen
	if answer.StatusCode != http.StatusNoContent {
		if err = json.NewDecoder(answer.Body).Decode(&view); err != nil {
			r.t.Fatal(err)
		}
	}
	return view
}

func (r rival) state(key string) seen { return r.ask("GET", key, "", nil) }
func (r rival) force(key string)      { r.ask("DELETE", key, "?force=true", nil) }

func (r rival) take(key string) int64 {
	return r.ask("POST", key, "", map[string]any{"ttlMs": 30_000, "owner": "rival"}).Token
}

func (r rival) free(key string, token int64) {
	r.ask("DELETE", key, fmt.Sprintf("?token=%d", token), nil)
}

func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !look(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func within[T any](t *testing.T, what string, channel <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-channel:
	case <-time.After(10 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
	return value
}
