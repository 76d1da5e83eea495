// Package logs prints what the controllers have logged about objects.
package logs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// maxLine bounds a line that is looked at, in bytes; longer ones are left out.
const maxLine = 1 << 20

type options struct {
	allNamespaces bool
	follow        bool
	fluxNamespace string
	kind, name    string
	level         string
	since         time.Duration
	sinceTime     string
	tail          int64
}

// Command returns `flux logs`.
func Command(s *session.Session) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:     "logs",
		Short:   "Print what the controllers have logged about objects",
		Example: "  # everything about one Kustomization\n  flux logs --kind=Kustomization --name=my-app\n\n  # failures anywhere, as they come\n  flux logs -A --level=error --follow",
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "print lines about objects of all namespaces, and those about none")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on printing as the controllers log")
	flags.StringVar(&o.fluxNamespace, "flux-namespace", session.DefaultNamespace, "namespace of the controllers")
	flags.StringVar(&o.kind, "kind", "", "print only lines about objects of this kind")
	flags.StringVar(&o.name, "name", "", "print only lines about the object of this name")
	flags.Var(value.OneOf(&o.level, "log level", "debug", "info", "error"), "level", "print only lines of this level: debug, info or error")
	flags.DurationVar(&o.since, "since", 0, "print only lines that are not older than this")
	flags.StringVar(&o.sinceTime, "since-time", "", "print only lines since this time (RFC 3339)")
	flags.Int64Var(&o.tail, "tail", -1, "how many lines of each controller to look at, all when -1")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.follow {
			c, err := s.Client()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, c)
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error { return o.run(ctx, s, c) })(cmd, args)
	}
	return cmd
}

func (o *options) params() (map[string]string, error) {
	params := map[string]string{}
	if o.follow {
		params["follow"] = "true"
	}
	if o.tail >= 0 {
		params["tailLines"] = strconv.FormatInt(o.tail, 10)
	}
	if o.since > 0 && o.sinceTime != "" {
		return nil, errors.New("at most one of --since-time or --since can be specified")
	}
	if o.since > 0 {
		params["sinceSeconds"] = strconv.FormatInt(max(1, int64(o.since.Seconds())), 10)
	}
	if o.sinceTime != "" {
		if _, err := time.Parse(time.RFC3339, o.sinceTime); err != nil {
			return nil, fmt.Errorf("%s is not a valid (RFC3339) time", o.sinceTime)
		}
		params["sinceTime"] = o.sinceTime
	}
	return params, nil
}

func (o *options) run(ctx context.Context, s *session.Session, c *cluster.Client) error {
	params, err := o.params()
	if err != nil {
		return err
	}
	pods, err := o.pods(ctx, c)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return fmt.Errorf("no Flux pods found in namespace %q", o.fluxNamespace)
	}
	var mu sync.Mutex
	print := func(line string) {
		if text := o.format(line, s.Namespace); text != "" {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(s.Out, text)
		}
	}
	var group errgroup.Group
	if !o.follow {
		group.SetLimit(1) // one controller after the other
	}
	errs := make([]error, len(pods)) // of a controller that has no log, or loses it; the others have theirs
	for i, pod := range pods {
		group.Go(func() error {
			errs[i] = read(ctx, c, &pod, params, print)
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// read prints the log of one controller.
func read(ctx context.Context, c *cluster.Client, pod *corev1.Pod, params map[string]string, print func(string)) error {
	stream, err := c.Logs(ctx, pod.Namespace, pod.Name, withContainer(params, pod))
	if err == nil {
		defer stream.Close()
		err = lines(stream, print)
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("read the logs of pod %s: %w", pod.Name, err)
	}
	return nil
}

func withContainer(params map[string]string, pod *corev1.Pod) map[string]string {
	all := map[string]string{"container": pod.Spec.Containers[0].Name}
	for name, value := range params {
		all[name] = value
	}
	return all
}

// pods returns the newest pod of each controller.
func (o *options) pods(ctx context.Context, c *cluster.Client) ([]corev1.Pod, error) {
	opts := cluster.ListOptions{Namespace: o.fluxNamespace, Labels: kinds.PartOf}
	deployments, err := cluster.All[appsv1.Deployment](ctx, c, kinds.Deployments, opts)
	if err != nil {
		return nil, err
	}
	var newest []corev1.Pod
	for _, d := range deployments {
		opts.Labels = metav1.FormatLabelSelector(d.Spec.Selector)
		pods, err := cluster.All[corev1.Pod](ctx, c, kinds.Pods, opts)
		if err != nil {
			return nil, err
		}
		var last *corev1.Pod
		for i := range pods {
			if len(pods[i].Spec.Containers) > 0 && (last == nil || last.CreationTimestamp.Before(&pods[i].CreationTimestamp)) {
				last = &pods[i]
			}
		}
		if last != nil {
			newest = append(newest, *last)
		}
	}
	return newest, nil
}

// lines prints each line; one that is too long is left out, and what follows it is not.
func lines(r io.Reader, print func(string)) error {
	reader := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for long := false; ; {
		part, more, err := reader.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		if more {
			continue
		}
		if !long {
			print(string(line))
		}
		line, long = line[:0], false
	}
}

// entry is what of a line of log is shown.
type entry struct {
	Time      string `json:"ts"`
	Level     string `json:"level"`
	Message   string `json:"msg"`
	Error     string `json:"error"`
	Kind      string `json:"controllerKind"`
	OldKind   string `json:"reconciler kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// format returns the text of a line, empty for lines that were not asked for.
func (o *options) format(line, namespace string) string {
	var e entry
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		return ""
	}
	if e.Kind == "" {
		e.Kind = e.OldKind
	}
	wanted := (o.kind == "" || strings.EqualFold(o.kind, e.Kind)) &&
		(o.name == "" || strings.EqualFold(o.name, e.Name)) &&
		(o.level == "" || strings.EqualFold(o.level, e.Level)) &&
		(o.allNamespaces || strings.EqualFold(namespace, e.Namespace))
	if !wanted {
		return ""
	}
	about := e.Kind
	if e.Name != "" {
		about += "/" + e.Name + "." + e.Namespace
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s - %s %s", e.Time, e.Level, about, e.Message, e.Error))
}
