// Package monitoring holds what looks after the controllers: scrape configuration, alerts, the
// configuration of kube-state-metrics, and dashboards. It is made by hack/monitoring.
package monitoring

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml dashboards/*.json
var files embed.FS

// Files are the manifests.
func Files() fs.FS { return files }
