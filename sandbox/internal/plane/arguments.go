package plane

import (
	"fmt"
	"os"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// EtcdArguments are the arguments of the etcd component.
func (p *Plane) EtcdArguments() []string {
	return []string{
		"--data-dir=" + p.dir.Path("etcd"),
		"--client=https://" + address(p.ports.Etcd),
		"--peer=https://" + address(p.ports.EtcdPeer),
		"--cert=" + p.etcdServer.Cert,
		"--key=" + p.etcdServer.Key,
		"--ca=" + p.ca.Cert,
	}
}

// APIServerArguments are the arguments of kube-apiserver.
func (p *Plane) APIServerArguments() []string {
	return []string{
		"--etcd-servers=https://" + address(p.ports.Etcd),
		"--etcd-cafile=" + p.ca.Cert,
		"--etcd-certfile=" + p.apiServerToEtcd.Cert,
		"--etcd-keyfile=" + p.apiServerToEtcd.Key,
		"--bind-address=" + loopback,
		"--advertise-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", p.ports.APIServer),
		"--tls-cert-file=" + p.apiServer.Cert,
		"--tls-private-key-file=" + p.apiServer.Key,
		"--client-ca-file=" + p.ca.Cert,
		"--token-auth-file=" + p.tokens,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--anonymous-auth=true",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + ServiceCIDR,
		"--service-account-issuer=" + Issuer,
		"--service-account-key-file=" + p.serviceAccountPublic,
		"--service-account-signing-key-file=" + p.serviceAccountKey,
		// An EndpointSlice refuses loopback, where our server listens; pods
		// reach it through their kubeconfig or the node's proxy.
		"--endpoint-reconciler-type=none",
		"--kubelet-client-certificate=" + p.apiServerToKubelet.Cert,
		"--kubelet-client-key=" + p.apiServerToKubelet.Key,
		"--kubelet-certificate-authority=" + p.ca.Cert,
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + p.ca.Cert,
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.frontProxy.Cert,
		"--proxy-client-key-file=" + p.frontProxy.Key,
		"--enable-aggregator-routing=true",
		"--egress-selector-config-file=" + p.egress,
		"--audit-policy-file=" + p.auditPolicy,
		"--audit-log-path=" + p.AuditLog(),
		// Blocking: a request that was answered is in the log, which is what
		// benchmarks count on.
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=512",
		"--audit-log-maxbackup=2",
		"--profiling=true",
		"--v=1",
	}
}

// ControllerManagerArguments are the arguments of kube-controller-manager.
func (p *Plane) ControllerManagerArguments() []string {
	return []string{
		"--kubeconfig=" + p.controllerManager,
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", p.ports.ControllerManager),
		"--tls-cert-file=" + p.apiServer.Cert,
		"--tls-private-key-file=" + p.apiServer.Key,
		"--authorization-always-allow-paths=/healthz,/metrics",
		"--leader-elect=false",
		"--use-service-account-credentials=false",
		"--service-account-private-key-file=" + p.serviceAccountKey,
		"--root-ca-file=" + p.ca.Cert,
		"--cluster-signing-cert-file=" + p.ca.Cert,
		"--cluster-signing-key-file=" + p.ca.Key,
		"--allocate-node-cidrs=false",
		"--controllers=*,-persistentvolume-attach-detach-controller,-persistentvolume-expander-controller,-node-ipam-controller",
		// A laptop sleeps, and a benchmark starves its neighbours: neither
		// should evict every pod.
		"--node-monitor-grace-period=2m",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--v=1",
	}
}

// SchedulerArguments are the arguments of kube-scheduler.
func (p *Plane) SchedulerArguments() []string {
	return []string{
		"--config=" + p.schedulerConfig,
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", p.ports.Scheduler),
		"--tls-cert-file=" + p.apiServer.Cert,
		"--tls-private-key-file=" + p.apiServer.Key,
		"--authorization-always-allow-paths=/healthz,/readyz,/metrics",
		"--v=1",
	}
}

// HealthURLs are the addresses that answer 200 when a component is well.
func (p *Plane) HealthURLs() map[string]string {
	return map[string]string{
		APIServer:         p.URL() + "/readyz",
		ControllerManager: "https://" + address(p.ports.ControllerManager) + "/healthz",
		Scheduler:         "https://" + address(p.ports.Scheduler) + "/healthz",
	}
}

// auditPolicy leaves out what says nothing about a user's work: the heartbeat
// of the control plane itself, health checks, and the first of the two stages
// of each request.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users:
  - system:apiserver
  - system:kube-scheduler
  - system:kube-controller-manager
  - system:node:` + NodeName + `
  resources:
  - group: coordination.k8s.io
    resources: [leases]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/metrics"]
- level: Metadata
`

// egressConfig sends what goes to pods, Services and nodes (webhooks, aggregated
// APIs, the Service proxy, logs) through the node agent, because nothing routes
// the addresses of pods. A proxy without TLS is not possible here.
const egressConfig = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport:
      tcp:
        url: https://%s
        tlsConfig: {caBundle: %q, clientCert: %q, clientKey: %q}
`

const schedulerConfig = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: %q
  qps: 500
  burst: 1000
leaderElection:
  leaderElect: false
`

func (p *Plane) writeConfigs() error {
	p.auditPolicy = p.dir.Path("audit-policy.yaml")
	p.schedulerConfig = p.dir.Path("scheduler.yaml")
	p.egress = p.dir.Path("egress.yaml")
	if err := os.MkdirAll(p.dir.Path("etcd"), 0o700); err != nil {
		return err
	}
	if err := state.WriteFile(p.auditPolicy, []byte(auditPolicy)); err != nil {
		return err
	}
	if err := state.WriteFile(p.egress, fmt.Appendf(nil, egressConfig, address(p.ports.Kubelet),
		p.ca.Cert, p.apiServerToKubelet.Cert, p.apiServerToKubelet.Key)); err != nil {
		return err
	}
	return state.WriteFile(p.schedulerConfig, fmt.Appendf(nil, schedulerConfig, p.scheduler))
}
