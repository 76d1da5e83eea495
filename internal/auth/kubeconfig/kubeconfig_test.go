package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func config(cluster, user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n" +
		"clusters: [{name: k, cluster: {server: 'https://example.com:6443/path', " + cluster + "}}]\n" +
		"users: [{name: u, user: {" + user + "}}]\n"
}

func TestParseKeeps(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(config("certificate-authority-data: Y2E=, tls-server-name: name, proxy-url: 'http://proxy:1'", "token: secret")), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "https://example.com:6443/path" || c.BearerToken != "secret" || string(c.CAData) != "ca" || c.ServerName != "name" || c.Proxy == nil {
		t.Errorf("config = %+v", c)
	}
	if c.Timeout == 0 || c.QPS != -1 {
		t.Errorf("timeout %s, QPS %v: want a timeout and no client-side limit", c.Timeout, c.QPS)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("of the controller"), 0o600); err != nil {
		t.Fatal(err)
	}
	exec := "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, interactiveMode: Never}"
	for reason, c := range map[string]struct {
		content string
		want    string
		policy  Policy // that allows it
	}{
		"program":          {config("", exec), "users[].user.exec", Policy{AllowExec: true}},
		"auth provider":    {config("", "auth-provider: {name: gcp}"), "auth-provider", Policy{}},
		"token file":       {config("", "tokenFile: "+file), "tokenFile", Policy{}},
		"certificate file": {config("", "client-certificate: "+file), "client-certificate", Policy{}},
		"key file":         {config("", "client-key: "+file), "client-key", Policy{}},
		"CA file":          {config("certificate-authority: "+file, "token: t"), "certificate-authority", Policy{}},
		"no verification":  {config("insecure-skip-tls-verify: true", "token: t"), "insecure-skip-tls-verify", Policy{AllowInsecureTLS: true}},
		"no context":       {"apiVersion: v1\nkind: Config\n", "current-context", Policy{}},
		"no YAML":          {"token: [secret", "cannot be parsed", Policy{}},
		"too large":        {strings.Repeat("x", maxSize+1), "more than", Policy{}},
	} {
		_, err := Parse([]byte(c.content), Policy{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one that names %s", reason, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "secret]") || strings.Contains(err.Error(), "[secret") {
			t.Errorf("%s: the error quotes the kubeconfig: %v", reason, err)
		}
		if c.policy != (Policy{}) {
			if _, err := Parse([]byte(c.content), c.policy); err != nil {
				t.Errorf("%s: %v, although it is allowed", reason, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(config("certificate-authority-data: Y2E=", "token: t"))
	f.Add(config("insecure-skip-tls-verify: true", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}"))
	f.Fuzz(func(t *testing.T, content string) {
		c, err := Parse([]byte(content), Policy{})
		if err != nil {
			return
		}
		if c.ExecProvider != nil || c.AuthProvider != nil || c.Insecure || c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.BearerTokenFile != "" {
			t.Errorf("a forbidden field passed: %+v", c)
		}
	})
}
