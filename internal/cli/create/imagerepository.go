package create

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/export"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/reconcile"
	"github.com/gitops-toolkit/flux/internal/image/spec"
)

// repositoryOf returns the name of the ImageRepository of an image. Where there is none one is created, or, with
// --export, printed.
func (f *policyFlags) repositoryOf(ctx context.Context, m *maker, image string) (string, error) {
	canonical, err := spec.CheckImage(image)
	if err != nil {
		return "", fmt.Errorf("--image-ref: %w", err)
	}
	obj := &imagev1.ImageRepository{}
	obj.SetNamespace(m.Namespace)
	obj.SetName(nameOfImage(image))
	obj.GetObjectKind().SetGroupVersionKind(kinds.ImageRepository.GVK())
	labels, err := parseLabels(m.labels)
	if err != nil {
		return "", err
	}
	obj.SetLabels(labels)
	obj.Spec = imagev1.ImageRepositorySpec{Image: image, Interval: meta.NewDuration(m.interval)}
	if m.export {
		return obj.Name, export.Object(m.Out, kinds.ImageRepository, obj)
	}
	c, err := m.Client()
	if err != nil {
		return "", err
	}
	found, err := m.findRepository(ctx, c, canonical)
	if err != nil {
		return "", err
	}
	if found != "" {
		m.Log.Actionf("using the ImageRepository '%s' of %s", found, image)
		return found, nil
	}
	m.Log.Actionf("creating the ImageRepository '%s' of %s", obj.Name, image)
	if err := c.Create(ctx, kinds.ImageRepository.Resource, obj); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("the ImageRepository '%s' is of another image: create one for %s with another name, and give that to --image-ref", obj.Name, image)
		}
		return "", err
	}
	m.Log.Successf("ImageRepository created")
	f.made = obj.Name
	return obj.Name, nil
}

// scanned waits for the first scan of an ImageRepository that was made beside the policy.
func (f *policyFlags) scanned(ctx context.Context, m *maker, c *cluster.Client) error {
	if f.made == "" {
		return nil
	}
	m.Log.Waitingf("waiting for ImageRepository reconciliation")
	if _, err := reconcile.Wait(ctx, c, m.Log, kinds.ImageRepository, m.Namespace, f.made, reconcile.Observed); err != nil {
		return err
	}
	m.Log.Successf("ImageRepository reconciliation completed")
	return nil
}

// findRepository looks for an ImageRepository by its image, "" if there is none.
func (m *maker) findRepository(ctx context.Context, c *cluster.Client, canonical string) (found string, err error) {
	_, err = c.List(ctx, kinds.ImageRepository.Resource, cluster.ListOptions{Namespace: m.Namespace}, func(raw json.RawMessage) error {
		var o imagev1.ImageRepository
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if name, err := spec.CheckImage(o.Spec.Image); err == nil && name == canonical && (found == "" || o.Name < found) {
			found = o.Name
		}
		return nil
	})
	return found, err
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// nameOfImage is the last part of an image as the name of an object.
func nameOfImage(image string) string {
	last := image[strings.LastIndex(image, "/")+1:]
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(last), "-"), "-")
}
