package controllers

import "slices"

// The groups of flags that controllers share.
var (
	groupK8S = []Flag{
		{Name: "kube-api-qps", Type: "float32", Default: "50", Help: "Requests a second to the API server, on average."},
		{Name: "kube-api-burst", Type: "int", Default: "300", Help: "Requests to the API server in a burst."},
	}
	groupLog = []Flag{
		{Name: "log-encoding", Type: "string", Default: "json", Help: "Encoding of log lines: json or console."},
		{Name: "log-level", Type: "string", Default: "info", Help: "Least level that is logged: trace, debug, info or error."},
	}
	groupLeader = []Flag{
		{Name: "enable-leader-election", Type: "bool", Default: "false", Help: "Work only while holding the controller's lease."},
		{Name: "leader-election-release-on-cancel", Type: "bool", Default: "true", Help: "Give the lease back at stop, so that another can start at once."},
		{Name: "leader-election-lease-duration", Type: "duration", Default: "35s", Help: "How long others wait after the last renewal of the lease."},
		{Name: "leader-election-renew-deadline", Type: "duration", Default: "30s", Help: "How long the leader tries to renew before it gives up."},
		{Name: "leader-election-retry-period", Type: "duration", Default: "5s", Help: "Time between attempts to take or renew the lease."},
	}
	groupRate = []Flag{
		{Name: "min-retry-delay", Type: "duration", Default: "750ms", Help: "First delay of the exponential back-off of a failing object."},
		{Name: "max-retry-delay", Type: "duration", Default: "15m0s", Help: "Longest delay of the exponential back-off of a failing object."},
	}
	groupFeatures = []Flag{
		{Name: "feature-gates", Type: "gates", Help: "Features to switch, as Name=true or Name=false, separated by commas."},
	}
	groupWatch = []Flag{
		{Name: "watch-all-namespaces", Type: "bool", Default: "true", Help: "Serve all namespaces; false: only that in RUNTIME_NAMESPACE."},
		{Name: "watch-label-selector", Type: "string", Help: "Serve only objects with matching labels: the shard of this instance."},
		{Name: "watch-configs-label-selector", Type: "string", Default: "reconcile.fluxcd.io/watch=Enabled", Help: "ConfigMaps and Secrets whose change acts at once; others act at the next interval."},
	}
	groupJitter = []Flag{
		{Name: "interval-jitter-percentage", Type: "uint8", Default: "5", Help: "Spread of intervals by plus or minus that many percent, 0 to 100."},
	}
	groupTokenCache = []Flag{
		{Name: "token-cache-max-size", Type: "int", Default: "100", Help: "Access tokens kept in memory; 0 keeps none."},
		{Name: "token-cache-max-duration", Type: "duration", Default: "1h0m0s", Help: "Longest time that an access token is kept, at most 1h."},
	}
	groupACL = []Flag{
		{Name: "no-cross-namespace-refs", Type: "bool", Default: "false", Help: "Forbid references to objects in other namespaces."},
	}
	groupKubeConfig = []Flag{
		{Name: "insecure-kubeconfig-exec", Type: "bool", Default: "false", Help: "Allow kubeconfigs in Secrets to run programs."},
		{Name: "insecure-kubeconfig-tls", Type: "bool", Default: "false", Help: "Allow kubeconfigs in Secrets to skip TLS verification."},
	}
	groupArtifact = []Flag{
		{Name: "storage-path", Type: "string", Default: "/data", Env: "STORAGE_PATH", Help: "Directory of the artifacts."},
		{Name: "storage-addr", Type: "string", Default: ":9090", Env: "STORAGE_ADDRESS", Help: "Listen address of the artifact server."},
		{Name: "storage-adv-addr", Type: "string", Env: "STORAGE_ADV_ADDR", Help: "Host and port in the URLs of artifacts; derived from storage-addr when empty."},
		{Name: "artifact-retention-ttl", Type: "duration", Default: "1m0s", Help: "How long superseded artifacts are kept."},
		{Name: "artifact-retention-records", Type: "int", Default: "2", Help: "How many artifacts of an object are kept at most."},
		{Name: "artifact-digest-algo", Type: "string", Default: "sha256", Help: "Digest of artifacts: sha1, sha256, sha384, sha512 or blake3."},
	}
	groupAddr = []Flag{
		{Name: "metrics-addr", Type: "string", Default: ":8080", Help: "Listen address of metrics and profiles; 0 switches it off."},
		{Name: "events-addr", Type: "string", Help: "URL to which events are posted; empty: nowhere."},
		{Name: "health-addr", Type: "string", Default: ":9440", Help: "Listen address of the probes; 0 switches it off."},
	}
)

// flags joins groups and a controller's own flags. A later flag of the same name replaces an
// earlier one.
func flags(groups ...[]Flag) []Flag {
	var out []Flag
	for _, f := range slices.Concat(groups...) {
		if i := slices.IndexFunc(out, func(o Flag) bool { return o.Name == f.Name }); i >= 0 {
			out[i] = f
			continue
		}
		out = append(out, f)
	}
	return out
}

// common are the groups that every controller has.
var common = slices.Concat(groupK8S, groupLog, groupLeader, groupRate, groupFeatures, groupWatch, groupAddr)

func concurrent(def string) Flag {
	return Flag{Name: "concurrent", Type: "int", Default: def, Help: "Reconciliations at a time, of each kind."}
}

func requeueDependency(def string) Flag {
	return Flag{Name: "requeue-dependency", Type: "duration", Default: def, Help: "Longest wait for a dependency; its becoming ready ends the wait earlier."}
}

func defaultServiceAccount(help string) Flag {
	return Flag{Name: "default-service-account", Type: "string", Help: help}
}

const (
	helpImpersonate = "ServiceAccount to act as where an object names none."
	helpIdentity    = "ServiceAccount whose cloud identity is used where an object names none; needs the gate ObjectLevelWorkloadIdentity."
)
