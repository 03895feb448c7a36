package lockside

import (
	"errors"
	"log/slog"
	"math/rand"
	"net/url"
	"time"
)

const (
	firstPause    = time.Second
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// A course is that of a watch over all its connections, without any input or output: what is told, and when to connect again.
type course struct {
	// name is the key or the prefix, for messages.
	name  string
	path  string
	isKey bool
	// resumeAt is when to connect again.
	resumeAt moment

	logger   *slog.Logger
	events   []Event
	parser   eventParser
	pause    time.Duration
	failures int
	// Whether anything was told since the beginning or the last gap.
	hasTold bool
}

func courseOfKey(key string, logger *slog.Logger) *course {
	return &course{name: key, path: "/v1/locks/" + segment(key) + "/events", isKey: true, logger: logger, pause: firstPause}
}

func courseOfPrefix(prefix string, logger *slog.Logger) *course {
	return &course{name: prefix, path: "/v1/events?prefix=" + url.QueryEscape(prefix), logger: logger, pause: firstPause}
}

// next takes what is to be told.
func (c *course) next() []Event {
	events := c.events
	c.events = nil
	return events
}

// begin: a stream begins.
func (c *course) begin() { c.parser = eventParser{} }

// take takes what of the stream has come.
func (c *course) take(content []byte) error {
	raw, err := c.parser.feed(content)
	for _, each := range raw {
		event, isKnown, err := parseEvent(each.name, each.data)
		if err != nil {
			return err
		}
		if isKnown {
			c.failures = 0
			c.tell(event)
		}
	}
	if c.parser.retry > 0 {
		c.pause = c.parser.retry
	}
	return err
}

// broken: the stream ended, or did not begin. It returns the error if connecting again does not help.
func (c *course) broken(err error) error {
	if !mayPass(err) {
		return err
	}
	if c.failures == 0 {
		logger := c.logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.Warn("lockside: no events; connecting again", "path", c.path, "error", err)
	}
	c.tell(Event{Type: EventGap})
	span := min(c.pause<<c.failures, max(longestPause, c.pause))
	var failure *Failure
	if errors.As(err, &failure) {
		span = max(span, failure.RetryAfter)
	}
	span = max(span, shortestPause)
	c.failures = min(c.failures+1, 10)
	c.resumeAt = now().after(span + time.Duration(rand.Int63n(int64(span/4)+1)))
	return nil
}

func (c *course) tell(event Event) {
	isGap := event.Type == EventGap
	// One gap before each run of states, also if both the sidecar and this client noticed it.
	if c.hasTold || !isGap {
		c.events = append(c.events, event)
	}
	c.hasTold = !isGap
}

func mayPass(err error) bool {
	var failure *Failure
	if !errors.As(err, &failure) {
		// Of the connection.
		return true
	}
	if failure.Status == 0 {
		return errors.Is(err, ErrUnavailable)
	}
	return failure.Status == 429 || failure.Status >= 500
}
