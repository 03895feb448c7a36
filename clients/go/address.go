package lockside

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"
)

const (
	defaultURL      = "http://127.0.0.1:7420"
	defaultTimeout  = 5 * time.Second
	expectedAddress = "expected http://127.0.0.1:7420, https://host:7420 or unix:/path"
)

// An address is a TCP or a unix socket, as package net takes it. It is never reached through a proxy: proxy settings are for
// the internet.
type address struct {
	network, target, host string
	// The name that the sidecar's certificate must have; empty: TLS is not spoken.
	certified string
}

// parseAddress takes what the command line takes in LOCKSIDE_URL. Its error does not repeat the URL, which may hold a
// password.
func parseAddress(text string) (address, error) {
	if text == "" {
		text = defaultURL
	}
	if path, isUnix := strings.CutPrefix(text, "unix:"); isUnix {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") {
			return address{}, errors.New("lockside URL: the path is not absolute; " + expectedAddress)
		}
		return address{network: "unix", target: path, host: "localhost"}, nil
	}
	parts, err := url.Parse(text)
	if err != nil || (parts.Scheme != "http" && parts.Scheme != "https") || parts.Hostname() == "" || parts.User != nil ||
		strings.Trim(parts.Path, "/") != "" || parts.RawQuery != "" || parts.ForceQuery || parts.Fragment != "" {
		return address{}, errors.New("lockside URL: " + expectedAddress)
	}
	port, certified := "80", ""
	if parts.Scheme == "https" {
		port, certified = "443", parts.Hostname()
	}
	if parts.Port() != "" {
		port = parts.Port()
	}
	return address{"tcp", net.JoinHostPort(parts.Hostname(), port), parts.Host, certified}, nil
}

func (a address) String() string {
	if a.network == "unix" {
		return "unix:" + a.target
	}
	if a.certified != "" {
		return "https://" + a.host
	}
	return "http://" + a.host
}

// A sidecar is where locks come from, how to authenticate there, and how long it may be silent.
type sidecar struct {
	address   address
	tokenFile string
	timeout   time.Duration
	tls       tlsFiles
}

// headers has the credential. It is read for each request, because files are rotated.
func (s *sidecar) headers() (map[string]string, error) {
	headers := map[string]string{}
	if s.tokenFile == "" {
		return headers, nil
	}
	content, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(content))
	isOther := func(character rune) bool { return character <= ' ' || character > '~' }
	if token == "" || strings.ContainsFunc(token, isOther) {
		return nil, fmt.Errorf("`%s` holds no token on one line", s.tokenFile)
	}
	headers["Authorization"] = "Bearer " + token
	return headers, nil
}

// defaultOwner is HOST/PID.
func defaultOwner() string {
	host, _ := os.Hostname()
	host = strings.Map(func(character rune) rune {
		if !unicode.IsPrint(character) {
			return -1
		}
		return character
	}, host)
	return fmt.Sprintf("%.200s/%d", host, os.Getpid())
}

// segment is a name as one segment of a path.
func segment(name string) string {
	escaped := url.PathEscape(name)
	if strings.Trim(escaped, ".") == "" {
		// Else it is a path for what normalizes URLs on the way.
		escaped = strings.ReplaceAll(escaped, ".", "%2E")
	}
	return escaped
}
