package controllers

import "slices"

// Values of --drift-correction.
const (
	driftImmediate  = "immediate"
	driftAtInterval = "interval"
)

// The flags that one controller has beside the groups.
var (
	sourceFlags = []Flag{
		{Name: "metrics-addr", Type: "string", Default: ":8080", Env: "METRICS_ADDR", Help: "Listen address of metrics and profiles; 0 switches it off."},
		{Name: "events-addr", Type: "string", Env: "EVENTS_ADDR", Help: "URL to which events are posted; empty: nowhere."},
		concurrent("2"),
		requeueDependency("30s"),
		{Name: "helm-index-max-size", Type: "int64", Default: "52428800", Help: "Largest index of a Helm repository, in bytes."},
		{Name: "helm-chart-max-size", Type: "int64", Default: "10485760", Help: "Largest Helm chart, in bytes."},
		{Name: "helm-chart-file-max-size", Type: "int64", Default: "5242880", Help: "Largest file in a Helm chart, in bytes."},
		{Name: "helm-cache-max-size", Type: "int", Default: "0", Help: "Helm indexes kept in memory; 0 keeps none."},
		{Name: "helm-cache-ttl", Type: "string", Default: "15m", Help: "How long a Helm index is kept in memory."},
		{Name: "helm-cache-purge-interval", Type: "string", Default: "1m", Help: "Time between looks for Helm indexes to drop."},
		{Name: "ssh-kex-algos", Type: "stringSlice", Help: "Key exchange algorithms for SSH, in order of preference."},
		{Name: "ssh-hostkey-algos", Type: "stringSlice", Help: "Host key algorithms for SSH, in order of preference."},
		defaultServiceAccount(helpIdentity),
	}
	kustomizeFlags = []Flag{
		concurrent("4"),
		{Name: "concurrent-ssa", Type: "int", Default: "4", Help: "Server-side apply requests at a time, of each Kustomization."},
		requeueDependency("30s"),
		{Name: "no-remote-bases", Type: "bool", Default: "false", Help: "Forbid kustomize bases that are fetched from elsewhere."},
		{Name: "http-retry", Type: "int", Default: "9", Help: "Attempts to fetch an artifact after the first."},
		defaultServiceAccount(helpImpersonate),
		{Name: "default-decryption-service-account", Type: "string", Help: "ServiceAccount for decryption where an object names none; needs the gate ObjectLevelWorkloadIdentity."},
		{Name: "default-kubeconfig-service-account", Type: "string", Help: "ServiceAccount for remote clusters where none is named; needs the gate ObjectLevelWorkloadIdentity."},
		{Name: "sops-age-secret", Type: "string", Help: "Secret in the runtime namespace with age keys for all objects."},
		{Name: "sops-vault-configmap", Type: "string", Help: "ConfigMap in the runtime namespace that tells how to log in to Vault."},
		{Name: "override-manager", Type: "stringArray", Help: "Field manager whose fields are taken over; may be repeated."},
		{Name: "custom-apply-stage-kinds", Type: "string", Help: "Kinds to apply before all that need no stage, as group/Kind, separated by commas."},
		{Name: "drift-correction", Type: "string", Default: driftImmediate, Help: "When changes that others made to applied objects are put back: immediate or interval."},
		{Name: "full-pass-interval", Type: "duration", Default: "24h0m0s", Help: "Time between passes that look at every applied object, even where the watches show no drift."},
	}
	helmFlags = []Flag{
		concurrent("4"),
		requeueDependency("30s"),
		{Name: "graceful-shutdown-timeout", Type: "duration", Default: "10m0s", Help: "How long release actions may take to end at stop."},
		{Name: "http-retry", Type: "int", Default: "9", Help: "Attempts to fetch an artifact after the first."},
		{Name: "http-timeout", Type: "duration", Default: "30s", Help: "Limit of one attempt to fetch an artifact."},
		defaultServiceAccount(helpImpersonate),
		{Name: "default-kubeconfig-service-account", Type: "string", Help: "ServiceAccount for remote clusters where none is named; needs the gate ObjectLevelWorkloadIdentity."},
		{Name: "oom-watch-memory-threshold", Type: "uint8", Default: "95", Help: "Percentage of the memory limit at which to stop, with the gate OOMWatch."},
		{Name: "oom-watch-interval", Type: "duration", Default: "500ms", Help: "Time between looks at the memory in use, with the gate OOMWatch."},
		{Name: "oom-watch-max-memory-path", Type: "string", Help: "File with the memory limit, with the gate OOMWatch; found by itself when empty."},
		{Name: "oom-watch-current-memory-path", Type: "string", Help: "File with the memory in use, with the gate OOMWatch; found by itself when empty."},
		{Name: "snapshot-digest-algo", Type: "string", Default: "sha256", Help: "Digest of release snapshots in the history."},
		{Name: "override-manager", Type: "stringArray", Help: "Field manager whose fields are taken over; may be repeated."},
	}
	reflectorFlags = []Flag{
		concurrent("4"),
		requeueDependency("30s"),
		{Name: "storage-path", Type: "string", Default: "/data", Help: "Directory of the tag database."},
		{Name: "storage-value-log-file-size", Type: "int64", Default: "268435456", Help: "Size of value log files, in bytes" + without + "."},
		{Name: "storage-compression-threshold", Type: "int", Default: "64", Help: "Least size of a list of tags that is kept compressed, in KiB; 0 compresses none."},
		{Name: "gc-interval", Type: "uint16", Default: "10", Help: "Minutes between clean-ups of the tag database; 0 means never."},
		defaultServiceAccount(helpIdentity),
	}
	automationFlags = []Flag{
		concurrent("4"),
		{Name: "ssh-kex-algos", Type: "stringSlice", Help: "Key exchange algorithms for SSH, in order of preference."},
		{Name: "ssh-hostkey-algos", Type: "stringSlice", Help: "Host key algorithms for SSH, in order of preference."},
		defaultServiceAccount(helpIdentity),
	}
	watcherFlags = []Flag{
		concurrent("10"),
		requeueDependency("5s"),
		{Name: "http-retry", Type: "int", Default: "9", Help: "Attempts to fetch an artifact after the first."},
		{Name: "reconciliation-timeout", Type: "duration", Default: "10m0s", Help: "Limit of one reconciliation."},
	}
)

// notificationFlags differ: that controller listens at its events address and has no shards.
func notificationFlags() []Flag {
	out := flags(common, groupTokenCache, groupACL, []Flag{
		{Name: "events-addr", Type: "string", Default: ":9090", Own: true, Help: "Listen address for events."},
		{Name: "receiverAddr", Type: "string", Default: ":9292", Help: "Listen address for webhooks."},
		concurrent("4"),
		{Name: "rate-limit-interval", Type: "duration", Default: "5m0s", Help: "Time in which an event that came before is dropped."},
		{Name: "export-http-path-metrics", Type: "bool", Default: "false", Help: "Label HTTP metrics with the path of each request."},
		publicAddressesOnly,
		defaultServiceAccount(helpIdentity),
	})
	return slices.DeleteFunc(out, func(f Flag) bool { return f.Name == "watch-label-selector" })
}
