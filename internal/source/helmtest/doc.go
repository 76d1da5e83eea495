// Package helmtest has what tests of HelmRepositories and HelmCharts need beside a lab: charts, and a server that offers
// them.
package helmtest

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// Impatient makes failures come back within a second.
func Impatient(s *kernel.Settings) { s.MaxRetryDelay = time.Second }

// Repository makes a HelmRepository; change adapts it.
func Repository(l *sourcetest.Lab, name, url string, change func(*sourcev1.HelmRepository)) {
	l.Helper()
	hour := meta.NewDuration(time.Hour)
	obj := &sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: sourcev1.HelmRepositorySpec{URL: url, Interval: &hour}}
	if change != nil {
		change(obj)
	}
	l.Create(obj)
}
