package notify

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// BenchmarkEvents sends 1,000 events, ten times as fast as 1,000 a minute, to twenty providers, of
// which three hang and two fail, and reports how long the others waited.
func BenchmarkEvents(b *testing.B) {
	const events, providers, hanging, failing = 1000, 20, 3, 2
	l := newLab(b)
	release := make(chan struct{})
	var sent sync.Map
	var mu sync.Mutex
	var waits []time.Duration
	for i := range providers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case i < hanging:
				<-release
			case i < hanging+failing:
				w.WriteHeader(http.StatusInternalServerError)
			default:
				body, _ := io.ReadAll(r.Body)
				if e, err := event.Decode(body); err == nil {
					if at, ok := sent.Load(e.Message); ok {
						mu.Lock()
						waits = append(waits, time.Since(at.(time.Time)))
						mu.Unlock()
					}
				}
			}
		}))
		b.Cleanup(server.Close)
		name := fmt.Sprint("p", i)
		l.create(&notificationv1.Provider{}, name, "spec: {type: generic, timeout: 2s, address: "+server.URL+"}")
		l.create(&notificationv1.Alert{}, name, `spec: {providerRef: {name: `+name+`}, eventSources: [{kind: Kustomization, name: "*"}]}`)
	}
	b.Cleanup(func() { close(release) }) // before the servers close
	time.Sleep(time.Second)              // until the cache knows them
	want := 0
	for b.Loop() {
		tick := time.NewTicker(time.Minute / events / 10)
		for i := range events {
			<-tick.C
			message := fmt.Sprint(want, "/", i)
			sent.Store(message, time.Now())
			l.post("Kustomization", fmt.Sprint("app", i%100), "info", message, nil)
		}
		tick.Stop()
		want += events * (providers - hanging - failing)
		for {
			mu.Lock()
			n := len(waits)
			mu.Unlock()
			if n >= want || l.ctx.Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	slices.Sort(waits)
	if len(waits) < want {
		b.Fatalf("%d of %d deliveries", len(waits), want)
	}
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkWebhooks calls a receiver without resources, every other time with a wrong signature.
func BenchmarkWebhooks(b *testing.B) {
	l := newLab(b)
	l.create(&corev1.Secret{}, "hook", "stringData: {token: sample-token}")
	path := l.receiver("r", "Succeeded", `{type: generic-hmac, secretRef: {name: hook}, resources: []}`)
	l.known(path)
	good := map[string]string{"X-Signature": "sha256=" + hexHMAC("sample-token", ref)}
	bad := map[string]string{"X-Signature": "sha256=" + hexHMAC("other", ref)}
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			header, want := good, http.StatusOK
			if n.Add(1)%2 == 0 {
				header, want = bad, http.StatusBadRequest
			}
			if code := l.call(http.MethodPost, path, ref, header); code != want {
				b.Errorf("%d, want %d", code, want)
			}
		}
	})
}
