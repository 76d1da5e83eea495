package test

import (
	"context"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

// island is a scenario on a cluster of its own, with its own controllers and audit log: for what
// would disturb the others, and for what is counted.
type island struct {
	*scenario
	sandbox           *harness.Sandbox
	stack             *harness.Stack
	source, kustomize *harness.Process
	audit             *harness.Audit
	dyn               dynamic.Interface
}

// maroon starts an island with a namespace of the given name. Islands run one after the other.
func maroon(t *testing.T, name string, flags ...string) *island {
	t.Helper()
	testenv.Kubeconfig(t) // also says that the programs are built and the Git server runs
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	i := &island{scenario: &scenario{T: t, ctx: ctx, ns: name}}
	dir, remove, err := harness.TempDir()
	i.must(err, "make a directory")
	t.Cleanup(remove)
	i.sandbox, err = harness.StartSandbox(ctx, dir, name)
	t.Cleanup(func() { _ = i.sandbox.Close() })
	i.must(err, "start a sandbox")
	i.must(i.sandbox.InstallCRDs(ctx), "install the CRDs")
	i.c, err = client.NewWithWatch(i.sandbox.Config, client.Options{})
	i.must(err, "make a client")
	i.dyn, err = dynamic.NewForConfig(i.sandbox.Config)
	i.must(err, "make a client")
	i.must(i.c.Create(ctx, i.object("Namespace", name)), "create the namespace")
	i.repo, err = world.git.Create(name, "master")
	i.must(err, "create the repository")
	i.audit, err = harness.NewAudit(i.sandbox.AuditLog)
	i.must(err, "open the audit log")

	i.stack, err = harness.New(ctx, i.sandbox.Kubeconfig, dir)
	i.must(err, "prepare the controllers")
	t.Cleanup(i.stack.Stop)
	flags = append([]string{"--events-addr="}, flags...)
	i.source, err = i.stack.Add(ctx, "source-controller", flags...)
	i.must(err, "start source-controller")
	i.kustomize, err = i.stack.Add(ctx, "kustomize-controller", flags...)
	i.must(err, "start kustomize-controller")
	t.Cleanup(i.report)
	return i
}

// report shows, after a failure, what the controllers said last.
func (i *island) report() {
	if i.Failed() {
		i.Logf("source-controller:\n%s\nkustomize-controller:\n%s", i.source.Tail(5), i.kustomize.Tail(10))
	}
}

// requests returns what the two controllers have asked since the last call.
func (i *island) requests() []harness.Request {
	i.Helper()
	reqs, err := i.audit.Since(i.source.User, i.kustomize.User)
	i.must(err, "read the audit log")
	return reqs
}
