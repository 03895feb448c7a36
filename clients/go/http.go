package lockside

import (
	"bufio"
	"bytes"
	"errors"
	"net/textproto"
	"strconv"
	"strings"
)

// HTTP/1.1 as bytes: the head of an answer, and its body as it comes. Package net/http reads ahead, and so hides which read
// of the socket a line came with.

var errNotHTTP = errors.New("the answer is not HTTP; does the URL name lockside's API?")

func parseHead(head []byte) (status int, header textproto.MIMEHeader, err error) {
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	first, err := reader.ReadLine()
	version, rest, _ := strings.Cut(first, " ")
	code, _, _ := strings.Cut(rest, " ")
	if err != nil || !strings.HasPrefix(version, "HTTP/1.") || len(code) != 3 {
		return 0, nil, errNotHTTP
	}
	if status, err = strconv.Atoi(code); err != nil {
		return 0, nil, errNotHTTP
	}
	if header, err = reader.ReadMIMEHeader(); err != nil {
		return 0, nil, errNotHTTP
	}
	return status, header, nil
}

// A body takes bytes as they come off the socket, and gives its content.
type body struct {
	isChunked  bool
	isInChunk  bool
	isComplete bool
	// Of the chunk or of the whole body; -1 where the end of the connection is the end of the body.
	left int
	raw  []byte
}

func newBody(header textproto.MIMEHeader) *body {
	if strings.EqualFold(header.Get("Transfer-Encoding"), "chunked") {
		return &body{isChunked: true}
	}
	length, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil || length < 0 {
		length = -1
	}
	return &body{left: length, isComplete: length == 0}
}

func (b *body) feed(raw []byte) ([]byte, error) {
	if b.isChunked {
		b.raw = append(b.raw, raw...)
		return b.chunks()
	}
	if b.left >= 0 {
		raw = raw[:min(len(raw), b.left)]
		b.left -= len(raw)
		b.isComplete = b.left == 0
	}
	return raw, nil
}

func (b *body) chunks() (content []byte, err error) {
	for !b.isComplete {
		if b.isInChunk {
			part := b.raw[:min(len(b.raw), b.left)]
			content = append(content, part...)
			b.raw, b.left = b.raw[len(part):], b.left-len(part)
			// Behind the content there is a line end.
			if b.left > 0 || len(b.raw) < 2 {
				return content, nil
			}
			b.raw, b.isInChunk = b.raw[2:], false
		}
		head, rest, isWhole := bytes.Cut(b.raw, []byte("\r\n"))
		if !isWhole {
			return content, nil
		}
		digits, _, _ := bytes.Cut(head, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		if err != nil {
			return content, errNotHTTP
		}
		b.raw, b.left, b.isInChunk = rest, int(size), true
		b.isComplete = size == 0
	}
	return content, nil
}
