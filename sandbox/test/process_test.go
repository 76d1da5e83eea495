package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// helper builds the executable that stands for the image example.com/helper.
func helper(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "helper")
	output(t, exec.Command("go", "build", "-o", path, "./helper"))
	return path
}

// forward opens a port-forward to a workload and returns its local URL.
func (s *sandbox) forward(target string, port int) string {
	s.t.Helper()
	cmd := s.kubectlCommand("port-forward", target, fmt.Sprintf(":%d", port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatalf("port-forward to %s: %v", target, err)
	}
	// Forwarding from 127.0.0.1:40000 -> 8080
	address := strings.Fields(line)[2]
	go io.Copy(io.Discard, out)
	return "http://" + address
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	executable := helper(t)
	s := up(t, "--image", "example.com/helper:v1="+executable)
	s.apply(processes)
	s.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	base := s.forward("deployment/web", 8080)

	t.Run("arguments, variables and volumes are the pod's", func(t *testing.T) { checkEnvironment(s.in(t), base) })
	t.Run("logs", func(t *testing.T) { checkLogs(s.in(t), base) })
	t.Run("names and addresses of the cluster resolve", func(t *testing.T) { checkNames(s.in(t), base) })
	t.Run("a change of a mounted ConfigMap arrives", func(t *testing.T) {
		s := s.in(t)
		_, body := fetch(t, base+"/environment")
		env := map[string]string{}
		if err := json.Unmarshal([]byte(body), &env); err != nil {
			t.Fatal(err)
		}
		s.kubectl("patch", "configmap", "config", "-p", `{"data":{"key":"changed"}}`)
		eventually(t, "the file has changed", func() bool {
			key, _ := os.ReadFile(env["KEYFILE"])
			return string(key) == "changed"
		})
	})
	t.Run("the API server reaches pods behind Services", func(t *testing.T) {
		s := s.in(t)
		if body := s.kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/healthz?x=y"); body != "" {
			t.Errorf("got %q", body)
		}
	})
	t.Run("exec is refused with a word", func(t *testing.T) {
		s := s.in(t)
		out, err := s.kubectlCommand("exec", "deployment/web", "--", "true").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not possible in the sandbox") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("a process is its own service account", func(t *testing.T) { checkIdentity(s.in(t), base) })
	t.Run("a crash is started again, and its log is kept", func(t *testing.T) {
		s := s.in(t)
		s.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff", "pod/crash", "--timeout=60s")
		s.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}=3", "pod/crash", "--timeout=60s")
		if log := s.kubectl("logs", "-p", "crash"); !strings.Contains(log, "started helper crash") {
			t.Errorf("the log of the run before is %q", log)
		}
	})
	t.Run("a job ends", func(t *testing.T) {
		s := s.in(t)
		s.kubectl("wait", "--for=condition=complete", "job/end", "--timeout=60s")
	})
	t.Run("an unknown tag is no image, until it is mapped", func(t *testing.T) {
		s := s.in(t)
		reason := "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
		s.kubectl("wait", "--for="+reason, "pod/unknown", "--timeout=60s")
		s.up("--image", "example.com/helper:v9="+executable)
		s.kubectl("wait", "--for=condition=ready", "pod/unknown", "--timeout=60s")
	})
	t.Run("a failed liveness probe restarts the container", func(t *testing.T) {
		s := s.in(t)
		fetch(t, base+"/fall-ill")
		s.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod", "-l", "app=web", "--timeout=60s")
		s.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	})
	t.Run("a stubborn process is killed after its grace period", func(t *testing.T) {
		s := s.in(t)
		s.kubectl("wait", "--for=condition=ready", "pod/stubborn", "--timeout=60s")
		s.kubectl("delete", "pod", "stubborn", "--timeout=60s")
	})
	t.Run("nothing outlives the agent or down", func(t *testing.T) {
		s := s.in(t)
		kill(t, s.status.PIDs["supervisor"])
		eventually(t, "all pods have gone", func() bool { return len(running(executable)) == 0 })
		s.up()
		s.kubectl("wait", "--for=condition=ready", "pod/orphan", "--timeout=60s")
		s.run("down")
		if left := append(s.inEnvironment(), running(executable)...); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func checkEnvironment(s *sandbox, base string) {
	t := s.t
	_, body := fetch(t, base+"/environment")
	env := map[string]string{}
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"NAMESPACE": "default", "RUNTIME_NAMESPACE": "default", "LIMIT": "1073741824", "FROM_CONFIG": "value",
		"EXPANDED": "in default", "PLAIN": "/nowhere/file",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if !strings.HasPrefix(env["IP"], "10.244.") || !strings.HasPrefix(env["FLUX_BIND_HOST"], "127.") {
		t.Errorf("podIP %q, FLUX_BIND_HOST %q", env["IP"], env["FLUX_BIND_HOST"])
	}
	if !strings.HasPrefix(env["CACHE"], s.status.Directory) || filepath.Base(env["CACHE"]) != "cache" {
		t.Errorf("a path below a mount should be translated, got %q", env["CACHE"])
	}
	if key, err := os.ReadFile(env["KEYFILE"]); err != nil || string(key) != "value" {
		t.Errorf("the file of a mounted ConfigMap has %q: %v", key, err)
	}
	log := s.kubectl("logs", "deployment/web")
	if !strings.Contains(log, "started helper --storage="+filepath.Dir(env["CACHE"])+"/store default") {
		t.Errorf("the arguments should be expanded and translated:\n%s", log)
	}
}

func checkLogs(s *sandbox, base string) {
	t := s.t
	for i := range 3 {
		fetch(t, fmt.Sprintf("%s/print?line=line-%d", base, i))
	}
	if log := s.kubectl("logs", "deployment/web", "--tail=2"); log != "line-1\nline-2\n" {
		t.Errorf("the last two lines are %q", log)
	}
	if log := s.kubectl("logs", "deployment/web", "--tail=1", "--timestamps"); !strings.Contains(log, "T") || !strings.HasSuffix(log, "Z line-2\n") {
		t.Errorf("a line with its time is %q", log)
	}
	follow := s.kubectlCommand("logs", "-f", "deployment/web", "--tail=1")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer follow.Wait()
	defer follow.Process.Kill()
	lines := bufio.NewScanner(out)
	lines.Scan()
	fetch(t, base+"/print?line=followed")
	if !lines.Scan() || lines.Text() != "followed" {
		t.Errorf("followed %q", lines.Text())
	}
}

func checkNames(s *sandbox, base string) {
	t := s.t
	ip := s.kubectl("get", "pod", "-l", "app=web", "-o", "jsonpath={.items[0].status.podIP}")
	cluster := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	for _, test := range []struct {
		reason, url string
		status      int
	}{
		{"a Service's name", "http://web.default.svc.cluster.local./healthz", http.StatusOK},
		{"its short name", "http://web.default.svc/healthz", http.StatusOK},
		{"its shortest name", "http://web.default/healthz", http.StatusOK},
		{"its address", "http://" + cluster + "/healthz", http.StatusOK},
		{"a pod's address", "http://" + ip + ":8080/healthz", http.StatusOK},
		{"a Service that is not there", "http://nobody.default.svc/", http.StatusBadGateway},
		{"a port that the Service does not have", "http://web.default.svc:81/", http.StatusBadGateway},
		{"this machine", s.status.GitHTTP + "/", http.StatusForbidden},
	} {
		if status, body := fetch(t, base+"/fetch?url="+url.QueryEscape(test.url)); status != test.status {
			t.Errorf("%s, %s: got %d, want %d: %s", test.reason, test.url, status, test.status, body)
		}
	}
}

// checkIdentity uses the process's kubeconfig as the process would.
func checkIdentity(s *sandbox, base string) {
	t := s.t
	_, body := fetch(t, base+"/environment")
	env := map[string]string{}
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env["KUBECONFIG"])
	if who := output(t, cmd); who != "system:serviceaccount:default:web" {
		t.Errorf("the process is %q", who)
	}
	cmd = exec.Command("kubectl", "get", "secrets")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env["KUBECONFIG"])
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "forbidden") {
		t.Errorf("without a role nothing is allowed, got %v: %s", err, out)
	}
}

const processes = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {key: value}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      terminationGracePeriodSeconds: 5
      containers:
      - name: main
        image: example.com/helper:v1
        args: ["--storage=/data/store", "$(NAMESPACE)"]
        env:
        - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        - {name: FROM_CONFIG, valueFrom: {configMapKeyRef: {name: config, key: key}}}
        - {name: EXPANDED, value: "in $(NAMESPACE)"}
        - {name: CACHE, value: /data/cache}
        - {name: KEYFILE, value: /etc/config/key}
        - {name: PLAIN, value: /nowhere/file}
        resources: {limits: {memory: 1Gi}}
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {port: http, path: /healthz}}
        livenessProbe: {httpGet: {port: http, path: /healthz}, periodSeconds: 1, failureThreshold: 2}
        volumeMounts: [{name: data, mountPath: /data}, {name: config, mountPath: /etc/config}]
      volumes: [{name: data, emptyDir: {}}, {name: config, configMap: {name: config}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec: {containers: [{name: main, image: "example.com/helper:v1", args: [crash]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unknown}
spec: {containers: [{name: main, image: "example.com/helper:v9"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "example.com/helper:v1", args: [stubborn]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: orphan}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "example.com/helper:v1", args: [orphan]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: end}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/helper:v1", args: [end]}]}
`
