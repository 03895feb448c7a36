package lockside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Leader is the leader of an election, as the sidecar saw it when it was asked. Only [Leader.IsLeader] changes by itself.
type Leader struct {
	// Name is the name of the leader; empty if there is none, or it is not known.
	Name string
	// Token is the fencing token of the leader; 0 if there is none. Pass it to the storage, which must reject any
	// token lower than the highest it has seen.
	Token int64
	// Since is when it began to lead.
	Since time.Time
	// LastUpdate is when the lead was last renewed; at a standby, when its sidecar last looked. Zero before the first look.
	LastUpdate time.Time
	// Candidates is how many stand for election, with the leader; 0 if it is not known.
	Candidates int
	// IsStale tells that the sidecar has not seen Redis for longer than the ttl of the election, and so names no leader.
	IsStale bool

	leads func() bool
}

// IsLeader tells whether the sidecar's own candidate leads now. It compares the clock and sends nothing: once true, it turns
// false by itself when the validity has passed. Ask for the leader again before that.
func (l *Leader) IsLeader() bool {
	return l.leads != nil && l.leads()
}

// A leaderView is a leader as the sidecar writes it.
type leaderView struct {
	Name       string  `json:"name"`
	Token      int64   `json:"token"`
	Since      string  `json:"since"`
	LastUpdate string  `json:"last_update"`
	Candidates int     `json:"candidates"`
	Stale      bool    `json:"stale"`
	Leader     *bool   `json:"leader"`
	ValidForMs float64 `json:"validForMs"`
}

// elections are what a client asks for a leader: a sidecar, or a fake.
type elections interface {
	leader(ctx context.Context, name string) (*Leader, error)
	resign(ctx context.Context, name string, pause time.Duration) error
}

// Leader asks for the leader of an election, as the sidecar sees it now: its --elect names its elections.
//
// The error is an [*UnavailableError], a [*RefusedError], whose Code is "no-such-election" if the sidecar does not know the
// election, or the context's.
func (c *Client) Leader(ctx context.Context, name string) (*Leader, error) {
	if name == "" {
		return nil, refused(name, errors.New("the name of the election is empty"))
	}
	return c.elections.leader(ctx, name)
}

// Resign has the sidecar's own candidate lead no longer: another one can lead when it returns. The candidate stands again at
// once, behind the others, or after the pause, for which a standby leaves the queue, too. Stop the work before you resign.
//
// The error is an [*UnavailableError], an [*UnknownOutcomeError], a [*RefusedError], whose Code is "no-such-election" if the
// sidecar does not know the election, or the context's: then the candidate may have resigned.
func (c *Client) Resign(ctx context.Context, name string, pause time.Duration) error {
	if name == "" {
		return refused(name, errors.New("the name of the election is empty"))
	}
	if pause < 0 {
		return refused(name, fmt.Errorf("`%s`: pause: expected 0 or more, not %v", name, pause))
	}
	return c.elections.resign(ctx, name, pause)
}

func refused(key string, err error) error {
	return &RefusedError{Failure{Key: key, Outcome: NotApplied, Message: err.Error(), cause: err}}
}

func (s *sidecar) leader(ctx context.Context, name string) (*Leader, error) {
	view, sent, err := s.ask(ctx, "GET", name, "")
	var silence *UnknownOutcomeError
	if errors.As(err, &silence) {
		// Nothing is done by looking.
		silence.Outcome = NotApplied
		return nil, &UnavailableError{silence.Failure}
	}
	if err != nil {
		return nil, err
	}
	leader := &Leader{
		Name: view.Name, Token: view.Token, Since: instant(view.Since), LastUpdate: instant(view.LastUpdate),
		Candidates: view.Candidates, IsStale: view.Stale,
	}
	if view.Leader != nil && *view.Leader {
		validUntil := sent.after(milliseconds(view.ValidForMs))
		leader.leads = func() bool { return validUntil.left() > 0 }
	}
	return leader, nil
}

func (s *sidecar) resign(ctx context.Context, name string, pause time.Duration) error {
	query := ""
	if pause > 0 {
		query = fmt.Sprintf("?for=%dms", (pause + time.Millisecond - 1).Milliseconds())
	}
	_, _, err := s.ask(ctx, "DELETE", name, query)
	return err
}

// ask asks the sidecar once; sent is a moment before which nothing was sent. Without an answer the outcome is unknown.
func (s *sidecar) ask(ctx context.Context, method, name, query string) (view leaderView, sent moment, err error) {
	fail := func(outcome Outcome, cause error, format string, arguments ...any) Failure {
		return Failure{Key: name, Outcome: outcome, Message: fmt.Sprintf(format, arguments...), cause: cause}
	}
	headers, err := s.headers()
	if err != nil {
		return view, sent, &RefusedError{fail(NotApplied, err, "`%s`: the token file: %v", name, err)}
	}
	until := now().after(s.timeout)
	exchange, err := dial(ctx, s.address, s.tls, until, s.timeout)
	if ctx.Err() != nil {
		return view, sent, cancelled(ctx, name)
	}
	if err != nil {
		return view, sent, &UnavailableError{fail(NotApplied, err, "cannot connect to lockside at %v: %v; is it running?", s.address, err)}
	}
	defer exchange.close()
	stop := context.AfterFunc(ctx, exchange.close)
	defer stop()
	sent = now()
	if err = exchange.send(method, "/v1/elections/"+segment(name)+query, headers, nil, until); err == nil {
		view, err = exchange.leader(name, until)
	}
	switch {
	case err == nil, isFailure(err):
	case ctx.Err() != nil:
		err = cancelled(ctx, name)
	default:
		err = &UnknownOutcomeError{fail(Unknown, err, "`%s`: no answer from lockside at %v: %v", name, s.address, err)}
	}
	return view, sent, err
}

// leader reads the answer to a request for an election.
func (e *exchange) leader(name string, until moment) (view leaderView, err error) {
	status, header, err := e.head(until)
	if err != nil || status == 204 {
		return view, err
	}
	text := e.rest(until)
	if status != 200 {
		var answer problem
		_ = json.Unmarshal(text, &answer)
		answer.Status = status
		return view, answer.failure(name, header.Get("Retry-After"))
	}
	if err = json.Unmarshal(text, &view); err == nil && view.Leader == nil {
		err = errors.New("what came is not an election; does the URL name lockside's API?")
	}
	return view, err
}
