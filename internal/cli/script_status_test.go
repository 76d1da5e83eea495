package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// mergeStatus plays the controller. It waits until the object exists, has been asked for a
// reconciliation if the text speaks of TOKEN, and has a spec that was not observed yet if the
// text speaks of NEWER; then it merges the text into the status.
func mergeStatus(kubeconfig, namespace string, k *kinds.Kind, name, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := scriptClient(kubeconfig)
	if err != nil {
		return err
	}
	for {
		obj := k.New()
		err := c.Get(ctx, k.Resource, namespace, name, obj)
		token := ""
		if err == nil {
			token = obj.GetAnnotations()[meta.ReconcileRequestAnnotation]
		}
		pending := strings.Contains(text, "TOKEN") && (token == "" || token == obj.GetLastHandledReconcileAt()) ||
			strings.Contains(text, "NEWER") && obj.GetGeneration() <= obj.GetObservedGeneration()
		if err == nil && !pending {
			text = strings.ReplaceAll(text, "NEWER", "GENERATION")
			text = strings.ReplaceAll(text, "GENERATION", strconv.FormatInt(obj.GetGeneration(), 10))
			text = strings.ReplaceAll(text, "TOKEN", token)
			break
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s/%s: %w", k.Kind, name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	var status map[string]any
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return c.MergePatch(ctx, k.Resource, namespace, name, map[string]any{"status": status}, nil, "status")
}
