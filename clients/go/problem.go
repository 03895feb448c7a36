package lockside

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Holder is who holds a key. Of another program than lockside only the expiry is known.
type Holder struct {
	Owner string
	// Kind is "user" or "system".
	Kind  string
	Token int64
	// Since is when it was granted.
	Since time.Time
	// ValidFor is how long the lease lasts unless it is renewed, and ValidUntil when it ends by the clock of Redis.
	ValidFor   time.Duration
	ValidUntil time.Time
	// Meta is what the holder gave with [WithMeta].
	Meta json.RawMessage
	// Mode is how it holds the key; empty where that is not known. Limit is how many may share it, as this holder asked; or 0.
	Mode  Mode
	Limit int
	// State of one that shares the key is [Held], or [Resting] where it has released it, and its terms keep it taken.
	State State
}

// A holderView is a holder as the sidecar writes it.
type holderView struct {
	Owner      *string         `json:"owner"`
	Kind       string          `json:"kind"`
	Token      int64           `json:"token"`
	Since      string          `json:"since"`
	ValidForMs float64         `json:"validForMs"`
	ValidUntil string          `json:"validUntil"`
	Meta       json.RawMessage `json:"meta"`
	Mode       Mode            `json:"mode"`
	Limit      int             `json:"limit"`
	State      State           `json:"state"`
}

func (v *holderView) holder() *Holder {
	if v == nil {
		return nil
	}
	holder := Holder{
		Kind: v.Kind, Token: v.Token, Since: instant(v.Since), ValidFor: milliseconds(v.ValidForMs),
		ValidUntil: instant(v.ValidUntil), Mode: v.Mode, Limit: v.Limit, State: v.State,
	}
	if v.Owner != nil {
		holder.Owner = *v.Owner
	}
	if string(v.Meta) != "null" {
		holder.Meta = v.Meta
	}
	return &holder
}

// A problem is an error as the sidecar writes it, as an answer or as the last line of a stream.
type problem struct {
	Code      string      `json:"code"`
	Detail    string      `json:"detail"`
	Outcome   Outcome     `json:"outcome"`
	Status    int         `json:"status"`
	RequestID string      `json:"requestId"`
	Holder    *holderView `json:"holder"`
	Waiters   int         `json:"waiters"`
	State     State       `json:"state"`
	Mode      Mode        `json:"mode"`
	SharedBy  int         `json:"sharedBy"`
	// Of several keys the one that is in the way.
	Key string `json:"key"`
	// Of several leases those that had ended.
	Lost []string `json:"lost"`
}

func (p *problem) failure(key string, retryAfter string) error {
	if p.Key != "" {
		key = p.Key
	}
	failure := Failure{Key: key, Code: p.Code, Outcome: p.Outcome, Status: p.Status, RequestID: p.RequestID}
	if failure.Outcome == "" {
		failure.Outcome = NotApplied
		if p.Status >= 500 {
			failure.Outcome = Unknown
		}
	}
	if seconds, err := strconv.ParseUint(retryAfter, 10, 31); err == nil {
		failure.RetryAfter = time.Duration(seconds) * time.Second
	}
	detail := p.Detail
	if detail == "" {
		detail = fmt.Sprintf("status %d; does the URL name lockside's API?", p.Status)
	}
	failure.Message = fmt.Sprintf("`%s`: %s", key, detail)
	switch {
	case p.Code == "held" || p.Code == "wait-timeout":
		held := &HeldError{failure, p.Holder.holder(), p.Waiters, p.State, p.Mode, p.SharedBy}
		held.explain()
		return held
	case failure.Outcome == Unknown:
		return &UnknownOutcomeError{failure}
	case isUnavailable(p.Code):
		return &UnavailableError{failure}
	}
	return &RefusedError{failure}
}

// explain says who holds the key, if that is known.
func (h *HeldError) explain() {
	if h.Holder == nil || h.Holder.Owner == "" {
		return
	}
	format := "`%s` is held by %s"
	switch {
	case h.SharedBy > 1:
		format = "`%s` is shared by %s" + fmt.Sprintf(" and %d more", h.SharedBy-1)
	case h.SharedBy == 1:
		format = "`%s` is shared by %s"
	case h.State == Resting:
		format = "`%s` was released by %s and rests"
	}
	h.Message = fmt.Sprintf(format, h.Key, h.Holder.Owner)
}

func isUnavailable(code string) bool {
	switch code {
	case "too-many-waiters", "too-many-requests", "quota-exceeded", "overloaded", "draining", "keys-unavailable", "redis-unavailable", "redis-refused", "too-late":
		return true
	}
	return false
}

func milliseconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Millisecond))
}

// instant is zero where nothing is said.
func instant(text string) time.Time {
	instant, _ := time.Parse(time.RFC3339, text)
	return instant
}
