package lockside

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A claim is what an order asks for: one key, or the keys of a bundle.
type claim interface {
	// path is that of an acquire, without its end.
	path() string
	// describe says what is asked for.
	describe(body *acquireBody)
	// leases are what a line grants that was written since then.
	leases(said *event, since moment) []lease
	// keys are those that are asked for.
	keys() []string
	// release is the request that releases them, and leaves the rest that the terms say if it rests.
	release(leases []lease, rests bool) (method, path string, content []byte)
	shares(key string) bool
	// waits passes on what a line tells of the wait.
	waits(said *event)
}

func (o *order) claim() claim {
	if o.legs != nil {
		return severalKeys{o}
	}
	return oneKey{o}
}

// An acquireBody is the content of an acquire.
type acquireBody struct {
	TTLMs     int64           `json:"ttlMs"`
	Owner     string          `json:"owner"`
	WaitMs    int64           `json:"waitMs,omitempty"`
	Progress  bool            `json:"progress,omitempty"`
	Mode      Mode            `json:"mode,omitempty"`
	Limit     int             `json:"limit,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	DelayMs   int64           `json:"delayMs,omitempty"`
	MinHoldMs int64           `json:"minHoldMs,omitempty"`
	MaxHoldMs int64           `json:"maxHoldMs,omitempty"`
	Keys      []keyBody       `json:"keys,omitempty"`
}

type keyBody struct {
	Key   string `json:"key"`
	Mode  Mode   `json:"mode,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

type oneKey struct{ order *order }

func (c oneKey) path() string { return "/v1/locks/" + segment(c.order.key) }

func (c oneKey) describe(body *acquireBody) {
	terms := c.order.terms
	body.DelayMs, body.MinHoldMs, body.MaxHoldMs = rounded(terms.delay), rounded(terms.minHold), rounded(terms.maxHold)
	if c.order.sharing.isShared {
		body.Mode, body.Limit = Shared, c.order.sharing.limit
	}
}

func (c oneKey) leases(said *event, since moment) []lease {
	view := said.leaseView
	view.Key = c.order.key
	return []lease{view.lease(since.after(milliseconds(said.ValidForMs)))}
}

func (c oneKey) keys() []string { return []string{c.order.key} }

func (c oneKey) release(leases []lease, rests bool) (method, path string, content []byte) {
	query := ""
	if rests {
		query = c.order.terms.query()
	}
	return "DELETE", fmt.Sprintf("%s?token=%d%s", c.path(), leases[0].token, query), nil
}

func (c oneKey) shares(string) bool { return c.order.sharing.isShared }

func (c oneKey) waits(said *event) {
	if c.order.onWait != nil {
		c.order.onWait(said.Position, said.Holder.holder())
	}
}

type severalKeys struct{ order *order }

func (severalKeys) path() string { return "/v1/bundles" }

func (c severalKeys) describe(body *acquireBody) {
	for _, leg := range c.order.legs {
		key := keyBody{Key: leg.key}
		if leg.sharing.isShared {
			key.Mode, key.Limit = Shared, leg.sharing.limit
		}
		body.Keys = append(body.Keys, key)
	}
}

func (severalKeys) leases(said *event, since moment) (granted []lease) {
	// The least validity is that of all: they end together.
	for _, view := range said.Leases {
		granted = append(granted, view.lease(since.after(milliseconds(said.ValidForMs))))
	}
	return granted
}

func (c severalKeys) keys() (keys []string) {
	for _, leg := range c.order.legs {
		keys = append(keys, leg.key)
	}
	return keys
}

func (c severalKeys) release(leases []lease, _ bool) (method, path string, content []byte) {
	type tokenBody struct {
		Key   string `json:"key"`
		Token int64  `json:"token"`
	}
	body := map[string][]tokenBody{}
	for _, lease := range leases {
		body["leases"] = append(body["leases"], tokenBody{lease.key, lease.token})
	}
	// Texts and numbers can be written.
	content, _ = json.Marshal(body)
	return "POST", c.path() + "/release", content
}

func (c severalKeys) shares(key string) bool {
	for _, leg := range c.order.legs {
		if leg.key == key {
			return leg.sharing.isShared
		}
	}
	return false
}

func (c severalKeys) waits(said *event) {
	if c.order.onWait != nil {
		c.order.onWait(said.Position, said.Holder.holder())
	}
	if c.order.onBundleWait != nil {
		c.order.onBundleWait(said.Key, said.Position, said.Holder.holder())
	}
}

func keysOf(leases []lease) (keys []string) {
	for _, lease := range leases {
		keys = append(keys, lease.key)
	}
	return keys
}

// without are the leases of the other keys.
func without(leases []lease, key string) []lease {
	return slices.DeleteFunc(slices.Clone(leases), func(lease lease) bool { return lease.key == key })
}

// areOf tells whether the leases are of these keys and no other.
func areOf(leases []lease, keys []string) bool {
	granted, asked := keysOf(leases), slices.Clone(keys)
	slices.Sort(granted)
	slices.Sort(asked)
	return slices.Equal(granted, asked)
}

// tokenOf is the token of a key; 0 without one.
func tokenOf(leases []lease, key string) int64 {
	for _, lease := range leases {
		if lease.key == key {
			return lease.token
		}
	}
	return 0
}

// otherKey is a key whose token is another one in the leases of a repetition; empty: they are the same.
func otherKey(leases, repeated []lease) string {
	for _, lease := range repeated {
		if tokenOf(leases, lease.key) != lease.token {
			return lease.key
		}
	}
	return ""
}
