package install

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Topology is how controllers are spread over processes.
type Topology string

// Topologies.
const (
	// Multi is a Deployment for each controller, as upstream has it.
	Multi Topology = "multi"
	// Single is one Deployment that runs all of them, for small clusters.
	Single Topology = "single"
)

// RBAC is how much the controllers may do.
type RBAC string

// Choices of rights.
const (
	// Full makes those controllers that apply what people describe administrators of the cluster,
	// as upstream does.
	Full RBAC = "full"
	// Minimal gives each controller what it needs itself; what people describe is applied as the
	// ServiceAccounts that they name.
	Minimal RBAC = "minimal"
)

// Defaults of an installation.
const (
	DefaultNamespace     = "flux-system"
	DefaultRegistry      = "ghcr.io/gitops-toolkit"
	DefaultClusterDomain = "cluster.local"
	DefaultLogLevel      = "info"
)

// DefaultComponents are installed unless a person chooses others, ExtraComponents when asked for.
var (
	DefaultComponents = []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller"}
	ExtraComponents   = []string{"image-reflector-controller", "image-automation-controller", "source-watcher"}
)

// Options are the choices of a person.
type Options struct {
	// Version is the tag of the images and the label on every object.
	Version    string
	Namespace  string
	Registry   string
	Components []string
	Topology   Topology
	RBAC       RBAC
	// ClusterDomain is the suffix of the names of Services.
	ClusterDomain string
	LogLevel      string
	// ImagePullSecret names a Secret in the namespace; empty: none is used.
	ImagePullSecret    string
	TolerationKeys     []string
	NetworkPolicy      bool
	WatchAllNamespaces bool
}

// Defaults returns the options of `flux install` without flags.
func Defaults(version string) Options {
	return Options{
		Version: version, Namespace: DefaultNamespace, Registry: DefaultRegistry,
		Components: slices.Clone(DefaultComponents), Topology: Multi, RBAC: Full,
		ClusterDomain: DefaultClusterDomain, LogLevel: DefaultLogLevel,
		NetworkPolicy: true, WatchAllNamespaces: true,
	}
}

// reference is what may stand before the tag of an image.
var reference = regexp.MustCompile(`^([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?(/[a-z0-9._-]+)*/?$`)

// tag is what may stand behind it, up to maxTag characters. A counted repetition in the expression
// would take milliseconds to compile, at every start of the command line.
var tag = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

const maxTag = 128

// validate refuses what would not make valid objects, with the flag's name. Values end up in
// manifests that people commit, so nothing is let through that is more than it seems.
func (o Options) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		refuse("namespace must be a valid DNS label: %q", o.Namespace)
	}
	if !tag.MatchString(o.Version) || len(o.Version) > maxTag {
		refuse("--version %q cannot be the tag of an image", o.Version)
	}
	if !reference.MatchString(o.Registry) {
		refuse("--registry %q is not a registry: give host[:port][/path] without scheme", o.Registry)
	}
	if len(validation.IsDNS1123Subdomain(o.ClusterDomain)) > 0 {
		refuse("--cluster-domain %q is not a domain", o.ClusterDomain)
	}
	if !slices.Contains([]string{"debug", "info", "error"}, o.LogLevel) {
		refuse("log level '%s' is not supported, must be one of: debug, info, error", o.LogLevel)
	}
	if o.ImagePullSecret != "" && len(validation.IsDNS1123Subdomain(o.ImagePullSecret)) > 0 {
		refuse("--image-pull-secret %q cannot be the name of a Secret", o.ImagePullSecret)
	}
	for _, key := range o.TolerationKeys {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			refuse("--toleration-keys %q: %s", key, strings.Join(problems, ", "))
		}
	}
	if o.Topology != Multi && o.Topology != Single {
		refuse("--topology %q: must be %s or %s", o.Topology, Multi, Single)
	}
	if o.RBAC != Full && o.RBAC != Minimal {
		refuse("--rbac %q: must be %s or %s", o.RBAC, Full, Minimal)
	}
	if len(o.Components) == 0 {
		refuse("no components: name at least one with --components")
	}
	return errors.Join(errs...)
}

func (o Options) has(component string) bool { return slices.Contains(o.Components, component) }

// CheckComponents refuses components that do not exist.
func CheckComponents(names []string) error {
	for _, name := range names {
		if !slices.Contains(DefaultComponents, name) && !slices.Contains(ExtraComponents, name) {
			return fmt.Errorf("component %s is not available", name)
		}
	}
	return nil
}
