package lockside

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func TestEachProblemIsOneKindOfError(t *testing.T) {
	for _, row := range []struct {
		status   int
		text     string
		expected error
		outcome  Outcome
	}{
		{409, `{"code":"held","outcome":"not-applied","holder":{"owner":"web-3","token":7,"since":"2026-01-02T03:04:05.678Z"}}`, ErrHeld, NotApplied},
		{409, `{"code":"held","holder":{"owner":null,"validForMs":1200.5,"validUntil":null}}`, ErrHeld, NotApplied},
		{409, `{"code":"wait-timeout","holder":null,"waiters":3}`, ErrHeld, NotApplied},
		{409, `{"code":"held","mode":"shared","sharedBy":2,"holder":{"owner":"web-3","mode":"shared","limit":3},"waiters":0}`, ErrHeld, NotApplied},
		{429, `{"code":"too-many-waiters","outcome":"not-applied"}`, ErrUnavailable, NotApplied},
		{503, `{"code":"redis-unavailable","outcome":"not-applied"}`, ErrUnavailable, NotApplied},
		{503, `{"code":"draining","outcome":"not-applied"}`, ErrUnavailable, NotApplied},
		{504, `{"code":"redis-timeout","outcome":"unknown"}`, ErrUnknownOutcome, Unknown},
		{502, `<html>`, ErrUnknownOutcome, Unknown},
		{404, `[]`, ErrRefused, NotApplied},
		{400, `{"code":"bad-request","outcome":"not-applied","detail":"ttlMs: too long"}`, ErrRefused, NotApplied},
		{401, `{"code":"unauthorized","outcome":"not-applied"}`, ErrRefused, NotApplied},
	} {
		var answer problem
		_ = json.Unmarshal([]byte(row.text), &answer)
		answer.Status = row.status
		err := answer.failure("x", "2")
		var failure *Failure
		if !errors.Is(err, row.expected) || !errors.As(err, &failure) {
			t.Errorf("%s: %#v", row.text, err)
			continue
		}
		if failure.Outcome != row.outcome || failure.Status != row.status || failure.RetryAfter != 2*time.Second || failure.Key != "x" {
			t.Errorf("%s: %#v", row.text, failure)
		}
		for _, other := range []error{ErrHeld, ErrUnavailable, ErrUnknownOutcome, ErrRefused, ErrLost} {
			if other != row.expected && errors.Is(err, other) {
				t.Errorf("%s is also %v", row.text, other)
			}
		}
	}
}

func TestAnErrorForAHeldKeyTellsARestFromAHolder(t *testing.T) {
	for _, row := range []struct {
		state   State
		message string
	}{
		{Held, "lockside: `x` is held by web-3"},
		{Resting, "lockside: `x` was released by web-3 and rests"},
		{"", "lockside: `x` is held by web-3"},
	} {
		owner := "web-3"
		answer := problem{Code: "held", Status: 409, State: row.state, Holder: &holderView{Owner: &owner}}
		var other *HeldError
		if err := answer.failure("x", ""); !errors.As(err, &other) || other.State != row.state || err.Error() != row.message {
			t.Errorf("%s: %#v", row.state, err)
		}
	}
}

func TestAHolderHasWhatTheSidecarTells(t *testing.T) {
	text := `{"owner":"web-3","kind":"user","token":9007199254740991,"since":"2026-01-02T03:04:05.678Z","validForMs":1200,
		"validUntil":"2026-01-02T03:04:06.878Z","meta":{"a":[1]}}`
	var view holderView
	if err := json.Unmarshal([]byte(text), &view); err != nil {
		t.Fatal(err)
	}
	holder := view.holder()
	if holder.Owner != "web-3" || holder.Kind != "user" || holder.Token != 1<<53-1 || holder.ValidFor != 1200*time.Millisecond ||
		holder.ValidUntil.Sub(holder.Since) != 1200*time.Millisecond || string(holder.Meta) != `{"a":[1]}` {
		t.Fatalf("%+v", holder)
	}
	if (*holderView)(nil).holder() != nil {
		t.Fatal("a holder of nothing")
	}
}
