package lockside

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsNoAddressIsRefusedAndNotRepeated(t *testing.T) {
	for _, url := range []string{
		"ftp://x", "http://user:secret@x", "unix:relative", "http://x/path", "http://x?a=secret", "127.0.0.1:7420", "http://",
		"http://x:secret",
	} {
		if _, err := New(Config{URL: url}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestFilesOfTLSBesideAURLWithoutItAreAMistake(t *testing.T) {
	for _, url := range []string{"", "http://127.0.0.1:7420", "unix:/x"} {
		for _, config := range []Config{{URL: url, CAFile: "/x"}, {URL: url, CertFile: "/x"}, {URL: url, KeyFile: "/x"}} {
			if _, err := New(config); err == nil || !strings.Contains(err.Error(), "https://") {
				t.Errorf("%+v: %v", config, err)
			}
		}
	}
}

func TestTheFormsThatTheCommandLineTakesAreTaken(t *testing.T) {
	for url, expected := range map[string]address{
		"":                       {"tcp", "127.0.0.1:7420", "127.0.0.1:7420", ""},
		"http://127.0.0.1:7420":  {"tcp", "127.0.0.1:7420", "127.0.0.1:7420", ""},
		"http://[::1]:7420/":     {"tcp", "[::1]:7420", "[::1]:7420", ""},
		"http://localhost":       {"tcp", "localhost:80", "localhost", ""},
		"https://[::1]:7443":     {"tcp", "[::1]:7443", "[::1]:7443", "::1"},
		"https://localhost/":     {"tcp", "localhost:443", "localhost", "localhost"},
		"unix:/run/lockside":     {"unix", "/run/lockside", "localhost", ""},
		"unix:///run/lockside/x": {"unix", "/run/lockside/x", "localhost", ""},
	} {
		if parsed, err := parseAddress(url); err != nil || parsed != expected {
			t.Errorf("%s: %+v, %v", url, parsed, err)
		}
	}
}

func TestACredentialIsOneLineAndIsReadAgainForEachRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	sidecar := &sidecar{tokenFile: path}
	if _, err := sidecar.headers(); err == nil {
		t.Fatal("no file is no credential")
	}
	for content, expected := range map[string]string{"first\n": "Bearer first", " second": "Bearer second", "a\nb": "", " \n": "", "ü": ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		headers, err := sidecar.headers()
		if headers["Authorization"] != expected || (err == nil) != (expected != "") {
			t.Errorf("%q: %v, %v", content, headers, err)
		}
		if err != nil && strings.Contains(err.Error(), "ü") {
			t.Errorf("the error shows the credential: %v", err)
		}
	}
}
