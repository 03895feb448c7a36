// Kubernetes in one binary, for one node of the tests: each part is the program of that name, with its own flags.
//
//	kubernetes apiserver DIR     serves https on 127.0.0.1:6443, with etcd inside; the token "admin" may do all
//	kubernetes controllers|scheduler|kubelet|proxy|kubectl|kustomize FLAGS…
package main

import (
	"context"
	"log"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	kustomize "sigs.k8s.io/kustomize/kustomize/v5/commands"
)

var parts = map[string]func() *cobra.Command{
	"apiserver":   apiServer,
	"controllers": controllers.NewControllerManagerCommand,
	"scheduler":   func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":     func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"proxy":       proxy.NewProxyCommand,
	"kubectl":     kubectl.NewDefaultKubectlCommand,
	"kustomize":   kustomize.NewDefaultCommand,
}

func main() {
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		log.Fatal("usage: kubernetes apiserver|controllers|scheduler|kubelet|proxy|kubectl|kustomize …")
	}
	part := parts[os.Args[1]]
	// Each of them reads its own arguments, as if it were alone.
	os.Args = os.Args[1:]
	os.Exit(cli.Run(part()))
}
