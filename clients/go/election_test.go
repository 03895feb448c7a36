package lockside

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// The sidecar stands for the elections jobs and reports; the test that resigns does so in reports.

// leading is the answer that says that the sidecar leads.
func leading(t *testing.T, election string) (known *Leader) {
	t.Helper()
	client := aClient(t)
	eventually(t, "it leads", func() bool {
		var err error
		if known, err = client.Leader(background, election); err != nil {
			t.Fatal(err)
		}
		return known.IsLeader()
	})
	return known
}

func TestTheLeaderIsNamedWithItsToken(t *testing.T) {
	known := leading(t, "jobs")
	holder := aRival(t).state("election:jobs").Holder
	if holder == nil || known.Name != holder.Owner || known.Token != holder.Token || known.Candidates != 1 || known.IsStale {
		t.Fatalf("%+v, and the holder is %+v", known, holder)
	}
	for _, moment := range []time.Time{known.Since, known.LastUpdate} {
		if passed := time.Since(moment); passed < -time.Second || passed > 10*time.Minute {
			t.Fatal(moment)
		}
	}
}

func TestALeadEndsByTheClock(t *testing.T) {
	known := leading(t, "jobs")
	eventually(t, "the validity has passed", func() bool { return !known.IsLeader() })
	if now, err := aClient(t).Leader(background, "jobs"); err != nil || !now.IsLeader() {
		t.Fatal(now, err)
	}
}

func TestACandidateDoesNotLeadForAsLongAsItResigned(t *testing.T) {
	client := aClient(t)
	leading(t, "reports")
	if err := client.Resign(background, "reports", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	known, err := client.Leader(background, "reports")
	if err != nil || known.IsLeader() || known.Name != "" || known.Token != 0 || !known.Since.IsZero() {
		t.Fatalf("%+v, %v", known, err)
	}
	if state := aRival(t).state("election:reports").State; state != "free" {
		t.Fatal(state)
	}
	for _, pause := range []time.Duration{time.Nanosecond, 0} {
		if err := client.Resign(background, "reports", pause); err != nil {
			t.Fatal(err)
		}
		leading(t, "reports")
	}
}

func TestAnUnknownElectionIsRefused(t *testing.T) {
	client := aClient(t)
	_, failed := client.Leader(background, "other")
	for _, err := range []error{failed, client.Resign(background, "other", 0)} {
		var refusal *RefusedError
		if !errors.As(err, &refusal) || refusal.Code != "no-such-election" || refusal.Status != 404 || refusal.Key != "other" {
			t.Fatalf("%#v", err)
		}
	}
}

func TestASidecarThatDoesNotAnswerIsUnavailable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	client, err := New(Config{URL: "unix:" + path, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err = client.Resign(background, "jobs", 0); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var failure *Failure
	_, err = client.Leader(background, "jobs")
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &failure) || failure.Outcome != NotApplied {
		t.Fatalf("%#v", err)
	}
	if err = client.Resign(background, "jobs", 0); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
}

func TestAContextEndsARequestForTheLeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := New(Config{URL: "unix:" + path, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1))
		}
		cancel()
	}()
	if _, err = client.Leader(ctx, "jobs"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err = client.Resign(ctx, "jobs", 0); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestWhatIsNoElectionOrNoPauseIsRefusedBeforeAnythingIsSent(t *testing.T) {
	client, err := New(Config{URL: "unix:/nothing/listens/here"})
	if err != nil {
		t.Fatal(err)
	}
	_, failed := client.Leader(background, "")
	for _, err := range []error{failed, client.Resign(background, "", 0), client.Resign(background, "jobs", -1)} {
		if !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	if new(Leader).IsLeader() {
		t.Fatal("a leader that was not answered leads")
	}
}

func TestAPodOfAFakeLeadsUntilAnotherOneDoesOrItResigns(t *testing.T) {
	fake := NewFake()
	ask := func() *Leader {
		t.Helper()
		known, err := fake.Leader(background, "jobs")
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	fake.Lead("jobs")
	first := ask()
	if !first.IsLeader() {
		t.Fatalf("%+v", first)
	}
	fake.Follow("jobs", "pod-8")
	second := ask()
	if first.IsLeader() || second.IsLeader() || second.Name != "pod-8" || second.Candidates != 2 || second.Token <= first.Token {
		t.Fatalf("%+v, %+v", first, second)
	}
	if err := fake.Resign(background, "jobs", time.Minute); err != nil || ask().Name != "pod-8" {
		t.Fatal(err)
	}
	fake.Lead("jobs")
	third := ask()
	if err := fake.Resign(background, "jobs", 0); err != nil || third.IsLeader() || ask().Name != "" {
		t.Fatal(err)
	}
	var refusal *RefusedError
	if _, err := fake.Leader(background, "other"); !errors.As(err, &refusal) || refusal.Code != "no-such-election" {
		t.Fatal(err)
	}
}
