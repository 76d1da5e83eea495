package test

import (
	"strings"
	"testing"
)

// TestSimulatedPods lets the stock controllers meet pods that nobody runs.
func TestSimulatedPods(t *testing.T) {
	t.Parallel()
	s := up(t)
	s.apply(workloads)
	for _, workload := range []string{"deployment/good", "statefulset/good", "daemonset/good"} {
		s.kubectl("rollout", "status", workload, "--timeout=60s")
	}
	s.kubectl("wait", "--for=condition=complete", "job/good", "--timeout=60s")
	s.kubectl("wait", "--for=condition=failed", "job/bad", "--timeout=60s")
	s.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=60s")
	for name, reason := range map[string]string{"crash": "CrashLoopBackOff", "image": "ImagePullBackOff"} {
		s.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}="+reason, "pod/"+name, "--timeout=60s")
	}
	s.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/never", "--timeout=60s")
	if ready := s.kubectl("get", "pod", "never", "-o", "jsonpath={.status.containerStatuses[0].ready}"); ready != "false" {
		t.Errorf("a pod that is never ready is ready: %s", ready)
	}
	if log := s.kubectl("logs", "never"); !strings.Contains(log, "simulated") {
		t.Errorf("the log of a simulated pod should say that it is, got %q", log)
	}

	t.Run("a running pod falls ill when it is annotated", func(t *testing.T) {
		s := s.in(t)
		s.kubectl("annotate", "pod", "-l", "app=good", "gitops-toolkit.dev/sandbox-fail=NeverReady")
		s.kubectl("wait", "--for=condition=available=false", "deployment/good", "--timeout=60s")
		s.kubectl("annotate", "pod", "-l", "app=good", "gitops-toolkit.dev/sandbox-fail-")
		s.kubectl("wait", "--for=condition=available", "deployment/good", "--timeout=60s")
	})
	t.Run("deleted pods go", func(t *testing.T) {
		s := s.in(t)
		s.kubectl("delete", "deployment", "good", "--timeout=60s")
		s.kubectl("wait", "--for=delete", "pod", "-l", "app=good", "--timeout=60s")
	})
}

const workloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: good}
spec:
  replicas: 2
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: good}
spec:
  replicas: 2
  serviceName: good
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec: {containers: [{name: main, image: nginx, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: good}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {gitops-toolkit.dev/sandbox-fail: Error}}
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: crash, annotations: {gitops-toolkit.dev/sandbox-fail: CrashLoopBackOff}}
spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: image, annotations: {gitops-toolkit.dev/sandbox-fail: ImagePullBackOff}}
spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: never, annotations: {gitops-toolkit.dev/sandbox-fail: NeverReady}}
spec: {containers: [{name: main, image: nginx}]}
`
