// Package info says what gotk_resource_info tells of each kind: the labels of that metric and where
// in the object their values stand. The configuration of kube-state-metrics is made from it, and so
// is the metric that the controllers serve themselves behind a gate, so that both tell the same.
package info

import (
	"fmt"
	"strconv"
	"strings"
)

// Name of the metric.
const Name = "gotk_resource_info"

// Label is one label and the path of its value, in the language of kube-state-metrics: "[type=Ready]"
// picks an element of a list by a field, "0" by its place.
type Label struct {
	Name string
	Path []string
}

// Kind is what is told of one.
type Kind struct {
	Group, Version, Kind, Plural string
	Labels                       []Label
}

func path(name, dotted string) Label { return Label{name, strings.Split(dotted, ".")} }

// common labels are those of every kind; kinds without a status have no ready.
var (
	common = []Label{path("exported_namespace", "metadata.namespace"), path("suspended", "spec.suspend")}
	ready  = path("ready", "status.conditions.[type=Ready].status")
	stored = path("revision", "status.artifact.revision")
	url    = path("url", "spec.url")
)

func kind(group, version, name, plural string, more ...Label) Kind {
	labels := append([]Label{path("name", "metadata.name")}, common...)
	return Kind{group + ".fluxcd.io", version, name, plural, append(labels, more...)}
}

// Kinds are all kinds.
var Kinds = []Kind{
	kind("source.toolkit", "v1", "GitRepository", "gitrepositories", ready, stored, url),
	kind("source.toolkit", "v1", "OCIRepository", "ocirepositories", ready, stored, url),
	kind("source.toolkit", "v1", "HelmRepository", "helmrepositories", ready, stored, url),
	kind("source.toolkit", "v1", "HelmChart", "helmcharts", ready, stored, path("chart_name", "spec.chart"), path("chart_version", "spec.version")),
	kind("source.toolkit", "v1", "Bucket", "buckets", ready, stored, path("endpoint", "spec.endpoint"), path("bucket_name", "spec.bucketName")),
	kind("source.toolkit", "v1", "ExternalArtifact", "externalartifacts", ready, stored, path("source_name", "spec.sourceRef.name")),
	kind("source.extensions", "v1beta1", "ArtifactGenerator", "artifactgenerators", ready),
	kind("kustomize.toolkit", "v1", "Kustomization", "kustomizations", ready, path("revision", "status.lastAppliedRevision"), path("source_name", "spec.sourceRef.name")),
	kind("helm.toolkit", "v2", "HelmRelease", "helmreleases", ready, path("revision", "status.history.0.chartVersion"),
		path("chart_name", "status.history.0.chartName"), path("chart_app_version", "status.history.0.appVersion"),
		path("chart_ref_name", "spec.chartRef.name"), path("chart_source_name", "spec.chart.spec.sourceRef.name")),
	kind("notification.toolkit", "v1beta3", "Alert", "alerts"),
	kind("notification.toolkit", "v1beta3", "Provider", "providers"),
	kind("notification.toolkit", "v1", "Receiver", "receivers", ready, path("webhook_path", "status.webhookPath")),
	kind("image.toolkit", "v1", "ImageRepository", "imagerepositories", ready, path("image", "spec.image")),
	kind("image.toolkit", "v1", "ImagePolicy", "imagepolicies", ready, path("source_name", "spec.imageRepositoryRef.name")),
	kind("image.toolkit", "v1", "ImageUpdateAutomation", "imageupdateautomations", ready, path("source_name", "spec.sourceRef.name")),
}

// Of finds a kind.
func Of(group, name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Group == group && k.Kind == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Values returns the labels that an object has a value for, the kind's own among them.
func (k Kind) Values(object map[string]any) map[string]string {
	values := map[string]string{"customresource_group": k.Group, "customresource_version": k.Version, "customresource_kind": k.Kind}
	for _, l := range k.Labels {
		if value := at(object, l.Path); value != nil {
			values[l.Name] = fmt.Sprint(value)
		}
	}
	return values
}

func at(value any, path []string) any {
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			value = element(v, step)
		default:
			return nil
		}
	}
	return value
}

func element(list []any, step string) any {
	if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(list) {
		return list[i]
	}
	field, want, _ := strings.Cut(strings.Trim(step, "[]"), "=")
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m[field] == want {
			return m
		}
	}
	return nil
}
