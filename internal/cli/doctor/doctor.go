// Package doctor finds out what keeps the controllers from doing their work: permissions that
// they, or the accounts they apply as, lack; and what else stands in the way of a change, such as
// webhooks, quotas, policies, API versions and finalizers. It asks the API server and changes
// nothing. What it finds about permissions ends in the roles that would mend it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// Doctor looks at one installation.
type Doctor struct {
	Client    *cluster.Client
	Discovery *cluster.Discovery
	Log       *ui.Log
	// Out takes the roles, as YAML that can be applied.
	Out io.Writer
	// Now is when it is; the zero value stands for the present.
	Now time.Time

	access  *access
	healers healers
}

// Examine looks at the controllers and at every object of theirs. It says nothing of what is well. It
// returns false when a controller lacks a permission; everything else it finds is a warning.
func (d *Doctor) Examine(ctx context.Context, controllers []appsv1.Deployment) (ok bool, err error) {
	if d.Now.IsZero() {
		d.Now = time.Now()
	}
	d.access = &access{client: d.Client}
	lacking, err := d.permissions(ctx, controllers)
	if err != nil {
		return true, err
	}
	objects, err := d.objects(ctx)
	if err != nil {
		return true, err
	}
	refused, err := d.refusals(ctx, objects, controllers)
	if err != nil {
		return true, err
	}
	obstacles, err := d.obstacles(ctx, objects, controllers)
	if err != nil {
		return true, err
	}
	d.say("checking permissions", lacking, d.Log.Failuref)
	d.say("checking what was refused", refused, d.Log.Warningf)
	d.say("checking what stands in the way", obstacles, d.Log.Warningf)
	return len(lacking) == 0, d.mend()
}

func (d *Doctor) say(title string, findings []string, line func(string, ...any)) {
	if len(findings) == 0 {
		return
	}
	d.Log.Actionf("%s", title)
	for _, text := range findings {
		line("%s", text)
	}
}

// mend prints the roles for what is lacking.
func (d *Doctor) mend() error {
	roles := d.healers.roles()
	if len(roles) == 0 {
		return nil
	}
	d.Log.Actionf("these roles give what is lacking: read them, and apply them with `flux check >roles.yaml; kubectl apply -f roles.yaml`")
	for _, role := range roles {
		if _, err := fmt.Fprintf(d.Out, "---\n%s", role); err != nil {
			return err
		}
	}
	return nil
}

// unseen tells whether an error says that the person, or the server, has no such thing to show. A
// look that is not granted must not hide what other looks find.
func unseen(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || cluster.IsNoKind(err)
}

// list reads all objects of a kind; what may not be seen is empty.
func list[T any](ctx context.Context, c *cluster.Client, r cluster.Resource, opts cluster.ListOptions) ([]T, error) {
	all, err := cluster.All[T](ctx, c, r, opts)
	if err != nil && unseen(err) {
		return nil, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("list %s: %w", r.Plural, err)
	}
	return all, err
}
