package providers

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
)

// A real Prometheus Alertmanager takes what we send, and shows it.
func TestRealAlertmanager(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Skip("prometheus-alertmanager is not installed")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the Alertmanager does not become ready")
		}
		time.Sleep(50 * time.Millisecond)
	}
	p := &notificationv1.Provider{Spec: notificationv1.ProviderSpec{Type: "alertmanager", Address: "http://" + address + "/api/v2/alerts/"}}
	c, err := Read(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	n := sample()
	if err := sender.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + address + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var alerts []struct{ Labels, Annotations map[string]string }
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	if len(alerts) != 1 || alerts[0].Labels["name"] != n.Event.InvolvedObject.Name || alerts[0].Annotations["message"] != n.Event.Message {
		t.Errorf("the Alertmanager shows %+v", alerts)
	}
}
