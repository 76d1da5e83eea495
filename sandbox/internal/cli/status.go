package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// status is what `up` and `status` print as JSON. Scripts read it: fields are
// added, never renamed.
type status struct {
	Name        string         `json:"name"`
	Phase       state.Phase    `json:"phase"`
	Healthy     bool           `json:"healthy"`
	Message     string         `json:"message,omitempty"`
	Directory   string         `json:"directory"`
	Kubernetes  string         `json:"kubernetes"`
	APIServer   string         `json:"apiServer"`
	Kubeconfig  string         `json:"kubeconfig"`
	AuditLog    string         `json:"auditLog"`
	GitHTTP     string         `json:"gitHTTP,omitempty"`
	GitHTTPS    string         `json:"gitHTTPS,omitempty"`
	GitSSH      string         `json:"gitSSH,omitempty"`
	GitUsername string         `json:"gitUsername,omitempty"`
	GitPassword string         `json:"gitPassword,omitempty"`
	GitCAFile   string         `json:"gitCAFile,omitempty"`
	GitKnown    string         `json:"gitKnownHostsFile,omitempty"`
	GitIdentity string         `json:"gitIdentityFile,omitempty"`
	Registry    string         `json:"registry,omitempty"`
	Proxy       string         `json:"proxy,omitempty"`
	PIDs        map[string]int `json:"pids"`
	Components  []component    `json:"components"`
	Images      []state.Image  `json:"images,omitempty"`
}

type component struct {
	state.Component
	// Resident is the resident memory in bytes, 0 when unknown.
	Resident int64 `json:"residentBytes"`
}

func newStatus(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how a sandbox is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, current, err := o.running()
			if err != nil {
				return err
			}
			v := view(dir, current)
			v.Healthy = current.Phase == state.Ready && answers(cmd.Context(), current.Kubeconfig)
			if err := o.print(cmd.OutOrStdout(), v, v.String()); err != nil {
				return err
			}
			if !v.Healthy {
				return fmt.Errorf("sandbox %q is not healthy: see the logs in %s", o.name, dir.Path("logs"))
			}
			return nil
		},
	}
}

// answers reports whether the API server says that it is ready.
func answers(ctx context.Context, kubeconfig string) bool {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return false
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

func view(dir state.Dir, s *state.State) status {
	v := status{
		Name: s.Name, Phase: s.Phase, Healthy: s.Phase == state.Ready, Message: s.Message,
		Directory: s.Directory, Kubernetes: s.Kubernetes, APIServer: s.APIServer,
		Kubeconfig: s.Kubeconfig, AuditLog: s.AuditLog, Images: dir.Images(),
		Proxy: fmt.Sprintf("http://127.0.0.1:%d", s.Ports.Proxy),
		PIDs:  map[string]int{"supervisor": s.Supervisor},
	}
	if s.Git != nil {
		v.GitHTTP, v.GitHTTPS, v.GitSSH = s.Git.HTTP, s.Git.HTTPS, s.Git.SSH
		v.GitUsername, v.GitPassword = s.Git.Username, s.Git.Password
		v.GitCAFile, v.GitKnown, v.GitIdentity = s.Git.CAFile, s.Git.KnownHosts, s.Git.Identity
	}
	if s.Registry != nil {
		v.Registry = s.Registry.Address
	}
	all := append([]state.Component{{
		Name: "supervisor", PID: s.Supervisor, Since: s.Started, Log: dir.Log("supervisor"),
	}}, s.Components...)
	for _, c := range all {
		v.PIDs[c.Name] = c.PID
		v.Components = append(v.Components, component{Component: c, Resident: resident(c.PID)})
	}
	return v
}

// String is the form for people.
func (v status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sandbox     %s (%s)\n", v.Name, v.Phase)
	if v.Message != "" {
		fmt.Fprintf(&b, "message     %s\n", v.Message)
	}
	for _, line := range [][2]string{
		{"kubernetes", v.Kubernetes + " at " + v.APIServer}, {"kubeconfig", v.Kubeconfig},
		{"audit log", v.AuditLog}, {"git", v.GitHTTP}, {"", v.GitHTTPS}, {"", v.GitSSH}, {"registry", v.Registry},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%-11s %s\n", line[0], line[1])
		}
	}
	fmt.Fprintf(&b, "\n%-24s %8s %9s %9s %s\n", "COMPONENT", "PID", "MEMORY", "RESTARTS", "UP")
	for _, c := range v.Components {
		fmt.Fprintf(&b, "%-24s %8d %6d MB %9d %s\n", c.Name, c.PID, c.Resident>>20, c.Restarts, time.Since(c.Since).Round(time.Second))
	}
	return strings.TrimRight(b.String(), "\n")
}
