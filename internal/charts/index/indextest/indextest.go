// Package indextest makes indexes and measures what reading them takes, for tests and benchmarks.
package indextest

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Generate returns an index in YAML of about this size with this many charts, as large repositories have them. It is for
// tests and benchmarks, and always the same.
func Generate(size, charts int) string {
	const perEntry = 760
	versions := max(1, size/perEntry/charts)
	var b strings.Builder
	b.Grow(size + size/8)
	b.WriteString("apiVersion: v1\nentries:\n")
	for c := range charts {
		fmt.Fprintf(&b, "  chart-%03d:\n", c)
		for v := range versions {
			fmt.Fprintf(&b, generated, c, v/100, v%100)
		}
	}
	b.WriteString("generated: \"2026-01-02T03:04:05.678901234Z\"\n")
	return b.String()
}

// Digest is that of every archive in a generated index: no archive's.
const Digest = "3bb0aaef5c016939b51a69aa64646ce7988973223102aef16779f2de8da63505"

const generated = `  - annotations:
      category: Infrastructure
      images: |
        - name: app
          image: registry.example/app:1.%[3]d
      licenses: Apache-2.0
    apiVersion: v2
    appVersion: 1.%[2]d.%[3]d
    created: "2026-01-02T03:04:05.123456789Z"
    dependencies:
    - name: common
      repository: oci://registry.example/charts-%[1]d
      tags:
      - common
      version: 2.x.x
    description: Chart number %[1]d is an example of a chart whose description is as
      long as those of real charts are, and has a "quote" in it.
    digest: ` + Digest + `
    home: https://example.com/charts/chart-%03[1]d
    keywords:
    - infrastructure
    - example
    maintainers:
    - email: charts@example.com
      name: Somebody
    name: chart-%03[1]d
    urls:
    - https://charts.example.com/chart-%03[1]d-1.%[2]d.%[3]d.tgz
    version: 1.%[2]d.%[3]d
`

// Peak returns by how much the heap grew at most while f ran. It is for tests and benchmarks.
func Peak(f func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak.Load() - min(peak.Load(), before.HeapAlloc)
}
