package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// The API server of kubernetes with an etcd of its own; its one argument is the directory for its files.
func apiServer() *cobra.Command {
	if len(os.Args) != 2 {
		log.Fatal("usage: kubernetes apiserver DIR")
	}
	directory := os.Args[1]
	etcd := startEtcd(filepath.Join(directory, "etcd"))
	accounts := filepath.Join(directory, "service-accounts.pem")
	tokens := filepath.Join(directory, "tokens.csv")
	write(accounts, newKey())
	write(tokens, []byte("admin,admin,admin,system:masters\n"))

	command := apiserver.NewAPIServerCommand()
	command.SetArgs([]string{
		"--etcd-servers=" + etcd,
		"--bind-address=0.0.0.0",
		"--secure-port=6443",
		"--advertise-address=10.89.0.1",
		"--cert-dir=" + filepath.Join(directory, "certificates"),
		"--token-auth-file=" + tokens,
		"--authorization-mode=RBAC",
		"--allow-privileged",
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=10.90.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + accounts,
		"--service-account-signing-key-file=" + accounts,
	})
	return command
}

// Starts etcd in this process, waits until it serves, and returns its address.
func startEtcd(directory string) string {
	config := embed.NewConfig()
	config.Dir, config.LogLevel = directory, "error"
	// Its data end with the process.
	config.UnsafeNoFsync = true
	clients := url.URL{Scheme: "http", Host: "127.0.0.1:2379"}
	peers := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		log.Fatal(err)
	}
	<-server.Server.ReadyNotify()
	return clients.String()
}

func newKey() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func write(path string, text []byte) {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		log.Fatal(err)
	}
}
