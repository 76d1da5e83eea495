package base

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/internal/controllers"
)

// single is the Deployment of the topology in which one process runs all controllers. Flags that
// controllers share by name but not by meaning carry the controller's prefix; an installation
// without one of the controllers leaves its flags out.
func single() pod {
	args := append([]string{"--controllers=" + strings.Join(names(), ",")}, generalArgs()...)
	for _, c := range controllers.All {
		if c.Name != "notification-controller" {
			args = append(args, "--"+c.Short+"."+strings.TrimPrefix(eventsArg, "--"))
		}
	}
	for _, c := range controllers.All {
		own := "--" + c.Short + "."
		switch c.Name {
		case "source-controller", "source-watcher":
			args = append(args, own+"storage-path=/data/"+c.Name, own+"storage-adv-addr="+advertised(c.Name))
		case "image-reflector-controller":
			args = append(args, own+"storage-path=/data/"+c.Name)
		}
	}
	return pod{
		name: SingleName, stores: true, grace: 600, cpu: "100m", memory: "128Mi", critical: true,
		volumes: []volume{dataVolume, tmpVolume},
		ports:   []corev1.ContainerPort{httpPort, webhookPort, metricsPort, healthPort},
		env:     []corev1.EnvVar{sigstoreRoot}, args: args,
	}
}
