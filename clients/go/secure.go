package lockside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// The files of TLS: whom the client trusts, and who it is. They are read for each connection, because they are renewed.
type tlsFiles struct {
	ca, certificate, key string
}

func (f *tlsFiles) config(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		content, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("`%s` holds no certificate", f.ca)
		}
	}
	if f.certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// secure speaks TLS on a connection.
func (f *tlsFiles) secure(ctx context.Context, conn net.Conn, host string) (*tls.Conn, *records, error) {
	config, err := f.config(host)
	if err != nil {
		return nil, nil, err
	}
	records := &records{Conn: conn}
	secured := tls.Client(records, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	return secured, records, nil
}

// Records give package tls no byte beyond the record that it reads, so that whether anything lies unread can be seen in the
// socket.
type records struct {
	net.Conn
	head [5]byte
	// Bytes of the head that were read, and of the record that were not.
	read, left int
}

func (r *records) Read(buffer []byte) (int, error) {
	if r.left > 0 {
		count, err := r.Conn.Read(buffer[:min(len(buffer), r.left)])
		r.left -= count
		return count, err
	}
	count, err := r.Conn.Read(buffer[:min(len(buffer), len(r.head)-r.read)])
	r.read += copy(r.head[r.read:], buffer[:count])
	if r.read == len(r.head) {
		r.read, r.left = 0, int(r.head[3])<<8|int(r.head[4])
	}
	return count, err
}

// isWhole tells whether no record was read in part.
func (r *records) isWhole() bool {
	return r.read == 0 && r.left == 0
}
