package main

import (
	"context"
	"time"
)

func (d *driver) leader(election string) (fields, error) {
	known, err := d.client.Leader(context.Background(), election)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.leaders[election] = known
	d.mu.Unlock()
	told := fields{
		"isLeader": known.IsLeader(), "name": nil, "token": nil, "since": moment(known.Since), "lastUpdate": moment(known.LastUpdate),
		"candidates": known.Candidates, "isStale": known.IsStale,
	}
	if known.Name != "" {
		told["name"] = known.Name
	}
	if known.Token != 0 {
		told["token"] = known.Token
	}
	return told, nil
}

func moment(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.Format("2006-01-02T15:04:05.000Z07:00")
}
