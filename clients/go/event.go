package lockside

import "encoding/json"

// An EventType says what an [Event] tells.
type EventType string

const (
	// EventState is a lock as it is: at first, and again after each gap.
	EventState EventType = "state"
	// EventSynced tells that all states were told. Changes follow.
	EventSynced EventType = "synced"
	// EventGranted tells that another lease has begun.
	EventGranted EventType = "granted"
	// EventReleased tells that a lease was released. If the lock rests, State and Holder say so.
	EventReleased EventType = "released"
	// EventExpired tells that a lease, or the rest of one, has ended.
	EventExpired EventType = "expired"
	// EventForced tells that a lease was force-released.
	EventForced EventType = "forced"
	// EventWaiting tells that another number waits for a lock.
	EventWaiting EventType = "waiting"
	// EventGap tells that changes may have been missed: drop what you know. The states follow once they are known.
	EventGap EventType = "gap"
)

// An Event is a state or a change of a lock.
type Event struct {
	Type EventType
	// Key is the lock; empty in synced and gap.
	Key string
	// Token is the fencing token of the lease that began or ended; in state and waiting the holder's, 0 without one.
	Token int64
	// State is told in state, and in released of a lock that rests.
	State State
	// Holder is told in state of a lock that is not free, in granted, and in released of a lock that rests.
	Holder *Holder
	// Waiters is how many wait for the lock; told in state, granted and waiting.
	Waiters int
	// Mode is [Shared] in state of a lock that others share, else empty: SharedBy is by how many, and Holders are the first hundred
	// of them, oldest grant first.
	Mode     Mode
	SharedBy int
	Holders  []*Holder
}

// parseEvent reads an event as the sidecar writes it; false for what a later version may tell.
func parseEvent(name string, data []byte) (event Event, isKnown bool, err error) {
	switch EventType(name) {
	case EventState, EventSynced, EventGranted, EventReleased, EventExpired, EventForced, EventWaiting, EventGap:
	default:
		return Event{}, false, nil
	}
	var view struct {
		Key      string        `json:"key"`
		Token    int64         `json:"token"`
		State    State         `json:"state"`
		Holder   *holderView   `json:"holder"`
		Waiters  int           `json:"waiters"`
		Mode     Mode          `json:"mode"`
		SharedBy int           `json:"sharedBy"`
		Holders  []*holderView `json:"holders"`
	}
	if err = json.Unmarshal(data, &view); err != nil {
		return Event{}, false, err
	}
	event = Event{
		Type: EventType(name), Key: view.Key, Token: view.Token, State: view.State, Holder: view.Holder.holder(), Waiters: view.Waiters,
		Mode: view.Mode, SharedBy: view.SharedBy,
	}
	for _, each := range view.Holders {
		event.Holders = append(event.Holders, each.holder())
	}
	return event, true, nil
}
