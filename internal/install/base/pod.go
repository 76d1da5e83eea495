package base

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Namespace is where everything lives unless a person chooses another.
const Namespace = "flux-system"

// SingleName is the name of the Deployment that runs all controllers in one process.
const SingleName = "flux-controller"

// repository is where images come from in the manifests; an installation replaces it.
const repository = "gitops-toolkit/"

// volume is an emptyDir and where it is mounted.
type volume struct{ name, path string }

var (
	dataVolume = volume{"data", "/data"}
	tmpVolume  = volume{"tmp", "/tmp"}
	tempVolume = volume{"temp", "/tmp"}
)

// pod says how one controller's Deployment differs from the others.
type pod struct {
	name string
	// stores says that it keeps files which are served to others: two of it must never run at
	// once, and it is ready when it serves them.
	stores bool
	// grace is how long it may take to end, in seconds.
	grace int64
	// cpu and memory are requested; the limits are the same for all.
	cpu, memory string
	volumes     []volume
	ports       []corev1.ContainerPort
	env         []corev1.EnvVar
	args        []string
	// critical gives it the priority of a cluster's own components.
	critical bool
}

var (
	metricsPort  = port("http-prom", 8080)
	healthPort   = port("healthz", 9440)
	httpPort     = port("http", 9090)
	webhookPort  = port("http-webhook", 9292)
	sigstoreRoot = corev1.EnvVar{Name: "TUF_ROOT", Value: "/tmp/.sigstore"}
)

// pods are the Deployments of the default topology, in the order in which they are installed.
var pods = []pod{
	{
		name: "source-controller", stores: true, grace: 10, cpu: "50m", memory: "64Mi", critical: true,
		volumes: []volume{dataVolume, tmpVolume}, ports: []corev1.ContainerPort{httpPort, metricsPort, healthPort},
		env: []corev1.EnvVar{sigstoreRoot}, args: storageArgs("source-controller"),
	},
	{
		name: "kustomize-controller", grace: 60, cpu: "100m", memory: "64Mi", critical: true,
		volumes: []volume{tempVolume}, ports: []corev1.ContainerPort{metricsPort, healthPort}, args: commonArgs(),
	},
	{
		name: "helm-controller", grace: 600, cpu: "100m", memory: "64Mi", critical: true,
		volumes: []volume{tempVolume}, ports: []corev1.ContainerPort{metricsPort, healthPort}, args: commonArgs(),
	},
	{
		name: "notification-controller", grace: 10, cpu: "100m", memory: "64Mi",
		volumes: []volume{tempVolume}, ports: []corev1.ContainerPort{httpPort, webhookPort, metricsPort, healthPort}, args: generalArgs(),
	},
	{
		name: "image-reflector-controller", grace: 10, cpu: "100m", memory: "64Mi",
		volumes: []volume{tempVolume, dataVolume}, ports: []corev1.ContainerPort{metricsPort, healthPort}, args: commonArgs(),
	},
	{
		name: "image-automation-controller", grace: 10, cpu: "100m", memory: "64Mi",
		volumes: []volume{tempVolume}, ports: []corev1.ContainerPort{metricsPort, healthPort}, args: commonArgs(),
	},
	{
		name: "source-watcher", stores: true, grace: 10, cpu: "50m", memory: "64Mi", critical: true,
		volumes: []volume{dataVolume, tmpVolume}, ports: []corev1.ContainerPort{httpPort, metricsPort, healthPort},
		args: storageArgs("source-watcher"),
	},
}

// cpuLimit is that of every container.
const cpuLimit = "1000m"

const eventsArg = "--events-addr=http://notification-controller.flux-system.svc.cluster.local./"

func generalArgs() []string {
	return []string{"--watch-all-namespaces", "--log-level=info", "--log-encoding=json", "--enable-leader-election"}
}

func commonArgs() []string { return append([]string{eventsArg}, generalArgs()...) }

func storageArgs(name string) []string {
	return append(commonArgs(), "--storage-path=/data", "--storage-adv-addr="+advertised(name))
}

func advertised(name string) string { return name + ".$(RUNTIME_NAMESPACE).svc.cluster.local." }

func port(name string, number int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: number, Protocol: corev1.ProtocolTCP}
}

// deployment renders the pod.
func (p pod) deployment() *appsv1.Deployment {
	app := map[string]string{"app": p.name}
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta(p.name, p.name),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(int32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: app},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      app,
					Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
				},
				Spec: p.spec(),
			},
		},
	}
	d.Labels["control-plane"] = "controller"
	if p.stores {
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	}
	return d
}

func (p pod) spec() corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName:            p.name,
		TerminationGracePeriodSeconds: ptr(p.grace),
		SecurityContext:               &corev1.PodSecurityContext{FSGroup: ptr(int64(1337))},
		Containers:                    []corev1.Container{p.container()},
	}
	if p.critical {
		spec.PriorityClassName = "system-cluster-critical"
	}
	for _, v := range p.volumes {
		spec.Volumes = append(spec.Volumes, corev1.Volume{
			Name: v.name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		})
	}
	return spec
}

func (p pod) container() corev1.Container {
	c := corev1.Container{
		Name: "manager", Image: repository + p.name, ImagePullPolicy: corev1.PullIfNotPresent,
		Args: p.args, Ports: p.ports, Env: p.environment(),
		LivenessProbe:  probe("healthz", "/healthz"),
		ReadinessProbe: probe("healthz", "/readyz"),
		Resources: corev1.ResourceRequirements{
			Requests: quantities(p.cpu, p.memory),
			Limits:   quantities(cpuLimit, "1Gi"),
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr(false),
			ReadOnlyRootFilesystem:   ptr(true),
			RunAsNonRoot:             ptr(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if p.stores {
		c.ReadinessProbe = probe("http", "/")
	}
	for _, v := range p.volumes {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: v.name, MountPath: v.path})
	}
	return c
}

// environment tells the process where it runs and how much memory it may use.
func (p pod) environment() []corev1.EnvVar {
	env := []corev1.EnvVar{{
		Name:      "RUNTIME_NAMESPACE",
		ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
	}}
	env = append(env, p.env...)
	return append(env, corev1.EnvVar{
		Name: "GOMEMLIMIT",
		ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{
			ContainerName: "manager", Resource: "limits.memory",
		}},
	})
}

func probe(port, path string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString(port), Path: path},
	}}
}

func quantities(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}
}

func ptr[T any](v T) *T { return &v }
