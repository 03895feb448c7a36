package lockside

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// Server-sent events as bytes.

const longestEvent = 1 << 20

// A rawEvent is one event of a stream.
type rawEvent struct {
	name string
	data []byte
}

// An eventParser takes the bytes of a stream as they come, and gives its events.
type eventParser struct {
	// retry is how long the server asks to wait before a new connection; 0: it did not say.
	retry   time.Duration
	text    []byte
	name    string
	data    []byte
	hasData bool
}

func (p *eventParser) feed(content []byte) (events []rawEvent, err error) {
	p.text = append(p.text, content...)
	for {
		line, rest, isWhole := bytes.Cut(p.text, []byte("\n"))
		if !isWhole {
			break
		}
		if event, isOne := p.take(bytes.TrimSuffix(line, []byte("\r"))); isOne {
			events = append(events, event)
		}
		p.text = rest
	}
	// What was taken is not kept.
	p.text = bytes.Clone(p.text)
	if len(p.text)+len(p.data) > longestEvent {
		return events, errors.New("an event is too long")
	}
	return events, nil
}

func (p *eventParser) take(line []byte) (event rawEvent, isOne bool) {
	if len(line) == 0 {
		event, isOne = rawEvent{p.name, p.data}, p.hasData
		p.name, p.data, p.hasData = "", nil, false
		return event, isOne
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		p.name = string(value)
	case "data":
		if p.hasData {
			p.data = append(p.data, '\n')
		}
		p.data, p.hasData = append(p.data, value...), true
	case "retry":
		if count, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			p.retry = time.Duration(count) * time.Millisecond
		}
	}
	return rawEvent{}, false
}
