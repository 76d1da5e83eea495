// Package state is what a sandbox leaves on disk while it lives: one directory
// per sandbox, private to its owner, with a state file that the supervisor
// writes and every command reads.
//
// The supervisor holds an exclusive lock on the directory for as long as it
// runs. The kernel drops the lock with the process, however it ends, so the
// lock, and never a process id, says whether a sandbox is running.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// HomeVariable names the environment variable that overrides where sandboxes
// are kept.
const HomeVariable = "FLUX_SANDBOX_HOME"

// Phase says how far a sandbox has come.
type Phase string

// The phases of a sandbox.
const (
	Starting Phase = "starting"
	Ready    Phase = "ready"
	Failed   Phase = "failed"
	Stopped  Phase = "stopped"
)

// State describes one sandbox. It is written by its supervisor only.
type State struct {
	Name       string      `json:"name"`
	ID         string      `json:"id"`
	Directory  string      `json:"directory"`
	Phase      Phase       `json:"phase"`
	Message    string      `json:"message,omitempty"`
	Kubernetes string      `json:"kubernetes"`
	APIServer  string      `json:"apiServer"`
	Kubeconfig string      `json:"kubeconfig"`
	AuditLog   string      `json:"auditLog"`
	Supervisor int         `json:"supervisor"`
	Started    time.Time   `json:"started"`
	Ports      Ports       `json:"ports"`
	Components []Component `json:"components,omitempty"`
	Git        *Git        `json:"git,omitempty"`
	Registry   *Registry   `json:"registry,omitempty"`
}

// Ports are the loopback ports in use. They are kept over a restart when they
// are still free, so that kubeconfigs and Git URLs stay good.
type Ports struct {
	Etcd              int `json:"etcd"`
	EtcdPeer          int `json:"etcdPeer"`
	APIServer         int `json:"apiServer"`
	ControllerManager int `json:"controllerManager"`
	Scheduler         int `json:"scheduler"`
	Kubelet           int `json:"kubelet"`
	Proxy             int `json:"proxy"`
	GitHTTP           int `json:"gitHTTP"`
	GitHTTPS          int `json:"gitHTTPS"`
	GitSSH            int `json:"gitSSH"`
	Registry          int `json:"registry"`
}

// Component is one process of the sandbox.
type Component struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	Log      string    `json:"log"`
}

// Git says how to reach the sandbox's Git server.
type Git struct {
	HTTP       string `json:"http"`
	HTTPS      string `json:"https"`
	SSH        string `json:"ssh"`
	Username   string `json:"username"`
	Password   string `json:"password"`
	CAFile     string `json:"caFile"`
	KnownHosts string `json:"knownHostsFile"`
	Identity   string `json:"identityFile"`
}

// Registry says how to reach the sandbox's OCI registry. It speaks plain HTTP.
type Registry struct {
	Address string `json:"address"`
}

// Image maps a container image to an executable on this machine.
type Image struct {
	Reference  string `json:"reference"`
	Executable string `json:"executable"`
}

var nameFormat = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Dir is the directory of one sandbox.
type Dir string

// Open returns the directory of the sandbox called name. It does not create it.
func Open(name string) (Dir, error) {
	if !nameFormat.MatchString(name) {
		return "", fmt.Errorf("sandbox name %q: use at most 40 lower-case letters, digits and dashes", name)
	}
	home, err := Home()
	if err != nil {
		return "", err
	}
	return Dir(filepath.Join(home, name)), nil
}

// Home returns the directory that holds the directories of all sandboxes.
func Home() (string, error) {
	if home := os.Getenv(HomeVariable); home != "" {
		return filepath.Abs(home)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the sandbox (set %s to choose one): %w", HomeVariable, err)
	}
	return filepath.Join(cache, "flux-sandbox", "sandboxes"), nil
}

// Names lists the sandboxes that have a directory.
func Names() ([]string, error) {
	home, err := Home()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && nameFormat.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// Path returns a path below the directory.
func (d Dir) Path(elements ...string) string {
	return filepath.Join(append([]string{string(d)}, elements...)...)
}

// Name returns the name of the sandbox.
func (d Dir) Name() string { return filepath.Base(string(d)) }

// Log returns the path of the log of a component.
func (d Dir) Log(component string) string { return d.Path("logs", component+".log") }

// Create makes the directory, readable by its owner only.
func (d Dir) Create() error {
	for _, dir := range []string{d.Path(), d.Path("logs"), d.Path("pki")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create the sandbox directory: %w", err)
		}
	}
	return nil
}

// Load reads the state file. The error is fs.ErrNotExist when there is none.
func (d Dir) Load() (*State, error) {
	data, err := os.ReadFile(d.Path("state.json"))
	if err != nil {
		return nil, err
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read %s: %w (run `flux sandbox down --name %s` to start afresh)", d.Path("state.json"), err, d.Name())
	}
	return &s, nil
}

// Save writes the state file atomically.
func (d Dir) Save(s *State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(d.Path("state.json"), append(data, '\n'))
}

// Remove deletes a directory and what is below it, even if a program made parts of it read-only, as our controllers do with
// the trees that they unpack: whoever is not root could not delete these as they are.
func Remove(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err // What is still there afterwards is told below.
	})
	return os.RemoveAll(dir)
}

// WriteFile replaces a file atomically; only its owner can read it.
func WriteFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
