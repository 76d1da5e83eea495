package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gitops-toolkit/flux"

type pkg struct {
	ImportPath string
	Doc        string
	Standard   bool
	Imports    []string
	Name       string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Standard,Imports,Name"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func under(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		root = module + "/" + root
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// rule forbids packages below From to import what Forbid accepts.
type rule struct {
	from   []string
	forbid func(from, imported string) bool
	reason string
}

var libraries = []string{"internal/artifact", "internal/gitrepo", "internal/registry", "internal/charts", "internal/auth", "internal/apply", "internal/cel"}

// sourceParts are what several source controllers need to read the same fields in the same way.
var sourceParts = []string{"internal/source/trust", "internal/source/helmaccess", "internal/source/attempt", "internal/source/sourcetest"}

var controllers = []string{"internal/source", "internal/kustomize", "internal/helm", "internal/notify", "internal/image"}

var rules = []rule{
	{
		from: []string{"api"},
		forbid: func(_, imported string) bool {
			return strings.Contains(imported, ".") && !under(imported, "api") &&
				!strings.HasPrefix(imported, "k8s.io/apimachinery/")
		},
		reason: "the public API imports nothing but apimachinery, so that anybody can import it cheaply",
	},
	{
		from: libraries,
		forbid: func(_, imported string) bool {
			return under(imported, "internal/kernel", "internal/controllers", "internal/cli", "internal/install") || under(imported, controllers...) ||
				(under(imported, "api") && !under(imported, "api/meta"))
		},
		reason: "a library knows nothing of custom resources: it takes plain values and works without a cluster",
	},
	{
		from: controllers,
		forbid: func(from, imported string) bool {
			if strings.HasSuffix(from, "test") && strings.HasSuffix(imported, "test") {
				return false // helpers of tests share a laboratory
			}
			return under(imported, "internal/controllers", "internal/cli", "internal/install") ||
				(under(imported, controllers...) && !under(imported, sourceParts...) && controllerOf(imported) != controllerOf(from))
		},
		reason: "controllers talk only through API objects, artifacts and events, so that each can run alone",
	},
	{
		from: []string{"internal/kernel"},
		forbid: func(_, imported string) bool {
			return under(imported, controllers...) || under(imported, libraries...) || under(imported, "internal/cli", "internal/controllers") ||
				(under(imported, "api") && !under(imported, "api/meta"))
		},
		reason: "the kernel serves every kind the same way and so names none",
	},
	{
		from: []string{"api", "internal", "cmd"},
		forbid: func(_, imported string) bool {
			return (strings.HasPrefix(imported, "github.com/fluxcd/") && imported != "github.com/fluxcd/cli-utils/pkg/kstatus/status") ||
				strings.HasPrefix(imported, "github.com/controlplaneio-fluxcd/")
		},
		reason: "we re-implement what those modules do; kstatus is the one exception (DESIGN section 10)",
	},
	{
		from: append(slices.Clone(libraries), append(controllers, "internal/kernel", "internal/controllers", "cmd/flux-controller")...),
		forbid: func(from, imported string) bool {
			return imported == "os/exec" && !strings.HasSuffix(from, "test") // helpers of tests may run the real programs
		},
		reason: "no controller builds a command line from data (THREATS, first row)",
	},
}

// controllerOf names the controller that a package belongs to: the folder below internal/source,
// internal/notify or internal/image counts as one, as do internal/kustomize and internal/helm.
func controllerOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, module+"/internal/"), "/")
	if parts[0] == "source" && len(parts) > 1 {
		return "source/" + parts[1]
	}
	return parts[0]
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		for _, r := range rules {
			if !under(p.ImportPath, r.from...) {
				continue
			}
			for _, imported := range p.Imports {
				if r.forbid(p.ImportPath, imported) {
					t.Errorf("%s imports %s: %s", strings.TrimPrefix(p.ImportPath, module+"/"), imported, r.reason)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// execAllowed lists the packages linked into flux-controller that import os/exec, each with why
// it cannot start a process from data there.
var execAllowed = map[string]string{
	"k8s.io/client-go/plugin/pkg/client/auth/exec":                       "kubeconfig exec plugins; kubeconfigs are sanitised unless --insecure-kubeconfig-exec",
	"github.com/go-git/go-git/v5/plumbing/transport/file":                "file:// transport; the URL scheme is refused before",
	"github.com/go-git/go-git/v5/plumbing/transport/internal/common":     "error type of the file transport",
	"sigs.k8s.io/kustomize/api/internal/builtins":                        "the Helm inflator; disabled in the build options, and internal/kustomize/build refuses it, tested",
	"sigs.k8s.io/kustomize/api/internal/git":                             "remote bases with git; our loader takes every remote reference out before kustomize sees it",
	"sigs.k8s.io/kustomize/api/internal/plugins/execplugin":              "exec plugins; disabled in the build options",
	"sigs.k8s.io/kustomize/kyaml/fn/runtime/exec":                        "exec functions; disabled in the build options",
	"sigs.k8s.io/kustomize/kyaml/fn/runtime/container":                   "container functions; disabled in the build options",
	"github.com/docker/cli/cli/config/credentials":                       "looks for credential helpers of a Docker configuration; our registry logins come from Secrets and read none",
	"github.com/docker/docker-credential-helpers/client":                 "credential helpers; our keychain reads no Docker configuration of the host",
	"github.com/google/gnostic-models/compiler":                          "its plugin runner; only its OpenAPI documents are parsed here",
	"github.com/wneessen/go-mail":                                        "delivery through a local sendmail; mail only ever goes out by SMTP",
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity":                   "logins of developer tools (az, azd, pwsh); buckets make client secret and certificate credentials only",
	"github.com/pkg/browser":                                             "opens a browser for interactive logins of azidentity, which nobody makes",
	"github.com/minio/minio-go/v7/pkg/credentials":                       "credential_process of AWS profiles; buckets use static, anonymous and LDAP credentials only",
	"golang.org/x/oauth2/google/externalaccount":                         "executable credentials of the operator's own GOOGLE_APPLICATION_CREDENTIALS, off unless GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES; key files in Secrets must be of the type service_account",
	"golang.org/x/sys/execabs":                                           "wrapper only",
	"github.com/getsops/sops/v3/age":                                     "key commands and age plugins; only its type of key is read, internal/kustomize/decrypt opens age keys itself",
	"github.com/getsops/sops/v3/pgp":                                     "the gpg program; only its type of key is read, internal/kustomize/decrypt uses OpenPGP in process",
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds":              "credential_process of AWS profiles, linked by SOPS; requests to AWS KMS are made by hand with credentials of ours",
	"github.com/googleapis/enterprise-certificate-proxy/client":          "certificate helpers of Google's clients, linked by SOPS; requests to Google Cloud KMS are made by hand",
	"cloud.google.com/go/auth/internal/transport/cert":                   "as enterprise-certificate-proxy",
	"cloud.google.com/go/auth/credentials/internal/externalaccount":      "executable credentials in Google's clients, linked by SOPS, which nobody makes here",
	"google.golang.org/api/internal/cert":                                "as enterprise-certificate-proxy",
	"github.com/hashicorp/go-sockaddr":                                   "asks for routes in address templates; Vault's client only parses addresses with it",
	"github.com/digitorus/pkcs7":                                         "calls openssl to sign in its own tests' helpers; timestamps are only parsed here",
	"github.com/in-toto/in-toto-golang/in_toto":                          "runs the steps of a layout; only its types of attestations are read here",
	"github.com/notaryproject/notation-go/plugin":                        "verification plugins; our verifier is given no plugin manager",
	"helm.sh/helm/v4/internal/plugin":                                    "plugins of Helm; internal/helm makes no settings that name a plugin directory, and post-renders in process",
	"k8s.io/utils/exec":                                                  "an interface around os/exec in the tree of kubectl's libraries; nothing here calls it",
	"oras.land/oras-go/v2/registry/remote/credentials":                   "credential helpers of a Docker configuration; our registry logins come from Secrets",
	"oras.land/oras-go/v2/registry/remote/credentials/internal/executer": "as its parent",
	"github.com/mitchellh/go-homedir":                                    "asks a shell for the home directory, for the token file of SOPS's Vault key, which is not used",
}

func TestNoChildProcessInControllers(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "-deps", "./cmd/flux-controller") {
		if p.Standard || !slices.Contains(p.Imports, "os/exec") {
			continue
		}
		if _, ok := execAllowed[p.ImportPath]; !ok {
			t.Errorf("%s imports os/exec and is linked into flux-controller: say in execAllowed why it cannot run a command from data, or drop it", p.ImportPath)
		}
	}
}
