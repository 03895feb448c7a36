package lockside

import (
	"context"
	"fmt"
	"time"
)

// Lead has this pod lead an election, until [Fake.Follow] or [Client.Resign].
func (f *Fake) Lead(election string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token++
	f.setLeader(election, &Leader{Name: "this pod", Token: f.token, Candidates: 1}, true)
}

// Follow has another pod lead an election, or, if its name is empty, none at all. A [Leader] that said that this pod leads says
// so no longer.
func (f *Fake) Follow(election, leader string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := &Leader{Candidates: 1}
	if leader != "" {
		f.token++
		known = &Leader{Name: leader, Token: f.token, Candidates: 2}
	}
	f.setLeader(election, known, false)
}

func (f *Fake) leader(ctx context.Context, name string) (*Leader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, cancelled(ctx, name)
	}
	known := f.leaders[name]
	if known == nil {
		message := fmt.Sprintf("`%s`: no such election", name)
		return nil, &RefusedError{Failure{Key: name, Code: "no-such-election", Outcome: NotApplied, Status: 404, Message: message}}
	}
	told := *known
	return &told, nil
}

func (f *Fake) resign(ctx context.Context, name string, _ time.Duration) error {
	known, err := f.leader(ctx, name)
	if err == nil && known.IsLeader() {
		f.Follow(name, "")
	}
	return err
}

// setLeader is for the holder of mu.
func (f *Fake) setLeader(election string, known *Leader, leads bool) {
	known.leads = func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return leads && f.leaders[election] == known
	}
	f.leaders[election] = known
}
