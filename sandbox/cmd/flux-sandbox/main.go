// Command flux-sandbox runs a Kubernetes control plane on loopback, without
// root, containers or downloads. It is the plugin behind `flux sandbox`.
//
// The same executable is also each part of that control plane: started as
// `flux-sandbox component NAME …` it becomes etcd, the API server, the
// controller manager, the scheduler or the node agent.
package main

import (
	"os"

	"github.com/gitops-toolkit/flux/sandbox/internal/cli"
	"github.com/gitops-toolkit/flux/sandbox/internal/kube"
	"github.com/gitops-toolkit/flux/sandbox/internal/proc"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == proc.ComponentVerb {
		proc.FollowParent()
		os.Exit(kube.Run(os.Args[2], os.Args[3:]))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
