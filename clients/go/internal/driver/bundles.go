package main

import (
	lockside "lockside.example/go"
)

type keyOption struct {
	Key    string `json:"key"`
	Shared bool   `json:"shared"`
	Limit  int    `json:"limit"`
}

func (d *driver) bundle(asked request) (fields, error) {
	ctx, cancel := d.waiting(asked)
	defer cancel()
	keys := []lockside.BundleKey{}
	for _, key := range asked.Keys {
		keys = append(keys, lockside.BundleKey(key))
	}
	bundle, err := d.client.AcquireBundle(ctx, keys, common(asked)...)
	if err != nil {
		return nil, err
	}
	d.keep(asked.Lock, bundle)
	return fields{"tokens": bundle.Tokens(), "modes": bundle.Modes(), "owner": bundle.Owner()}, nil
}
