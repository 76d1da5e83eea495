package create

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
)

// login is a pair that several kinds of Secret take.
type login struct{ username, password string }

func (l *login) define(flags *pflag.FlagSet) {
	flags.StringVarP(&l.username, "username", "u", "", "user name for basic authentication")
	flags.StringVarP(&l.password, "password", "p", "", "password for basic authentication")
}

func (l *login) addTo(d *secretDoc) {
	d.set("username", l.username)
	d.set("password", l.password)
}

// tlsFiles are the files of a TLS identity.
type tlsFiles struct{ cert, key, ca string }

func (f *tlsFiles) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-crt-file", "", "client certificate, PEM encoded")
	flags.StringVar(&f.key, "tls-key-file", "", "key of the client certificate, PEM encoded")
	flags.StringVar(&f.ca, "ca-crt-file", "", "certificates, PEM encoded, that sign the server's")
}

func (f *tlsFiles) pair() bool { return f.cert != "" && f.key != "" }

func (f *tlsFiles) addTo(d *secretDoc) error {
	return errors.Join(d.file("tls.crt", f.cert), d.file("tls.key", f.key), d.file("ca.crt", f.ca))
}

func (m *maker) secretGit() *cobra.Command {
	var address, bearer, ca string
	var user login
	var keys sshkey.Flags
	return m.secret(secretRecipe{
		word:    "git",
		short:   "Create or change a Secret for a Git repository",
		example: "  # a new deploy key\n  flux create secret git fleet --url=ssh://git@github.com/org/fleet\n\n  # a token\n  flux create secret git fleet --url=https://github.com/org/fleet --username=git --password=$TOKEN",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&address, "url", "", "address of the repository: ssh, https or http")
			flags.StringVar(&bearer, "bearer-token", "", "token for bearer authentication")
			flags.StringVar(&ca, "ca-crt-file", "", "certificates, PEM encoded, that sign the server's")
			user.define(flags)
			keys.Define(flags)
		},
		build: func(ctx context.Context, d *secretDoc) error {
			if address == "" {
				return errors.New("url is required")
			}
			u, err := gitURL(address)
			if err != nil {
				return err
			}
			if u.Scheme == "ssh" {
				return m.gitKeys(ctx, d, u, &keys, user.password)
			}
			basic := user.username != "" && user.password != ""
			switch {
			case basic == (bearer != ""):
				return errors.New("for Git over HTTP/S the username and password, or a bearer token is required")
			case basic:
				user.addTo(d)
			default:
				d.set("bearerToken", bearer)
			}
			return d.file("ca.crt", ca)
		},
	})
}

func (m *maker) gitKeys(ctx context.Context, d *secretDoc, u *url.URL, keys *sshkey.Flags, passphrase string) error {
	hosts, err := sshkey.Scan(ctx, u)
	if err != nil {
		return err
	}
	pair, err := keys.Pair(passphrase)
	if err != nil {
		return err
	}
	d.set("identity", string(pair.Private))
	d.set("identity.pub", string(pair.Public))
	d.set("known_hosts", string(hosts))
	if passphrase != "" && keys.File != "" {
		d.set("password", passphrase)
	}
	m.Log.Generatef("deploy key: %s", strings.TrimSpace(string(pair.Public)))
	return nil
}

func (m *maker) secretHelm() *cobra.Command {
	var user login
	var tls tlsFiles
	return m.secret(secretRecipe{
		word:    "helm",
		short:   "Create or change a Secret for a Helm repository",
		example: "  flux create secret helm charts --username=me --password=$TOKEN",
		flags: func(flags *pflag.FlagSet) {
			user.define(flags)
			tls.define(flags)
		},
		build: func(_ context.Context, d *secretDoc) error {
			basic := user.username != "" && user.password != ""
			switch {
			case tls.pair():
				d.kind = corev1.SecretTypeTLS
			case basic:
				d.kind = corev1.SecretTypeBasicAuth
			case tls.ca != "":
				d.kind = corev1.SecretTypeOpaque
			default:
				return errors.New("no credentials: give --username and --password, --tls-crt-file and --tls-key-file, or --ca-crt-file")
			}
			if basic {
				user.addTo(d)
			}
			return tls.addTo(d)
		},
	})
}

func (m *maker) secretOCI() *cobra.Command {
	var address string
	var user login
	return m.secret(secretRecipe{
		word:    "oci",
		short:   "Create or change a Secret for a registry",
		example: "  flux create secret oci ghcr --url=ghcr.io --username=me --password=$TOKEN",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&address, "url", "", "address of the registry, or of a repository in it")
			user.define(flags)
		},
		build: func(_ context.Context, d *secretDoc) error {
			for _, flag := range [][2]string{{"url", address}, {"username", user.username}, {"password", user.password}} {
				if flag[1] == "" {
					return fmt.Errorf("--%s is required", flag[0])
				}
			}
			host, _, _ := strings.Cut(strings.TrimPrefix(address, "oci://"), "/")
			config, err := dockerConfig(host, user.username, user.password)
			d.kind = corev1.SecretTypeDockerConfigJson
			d.set(corev1.DockerConfigJsonKey, config)
			return err
		},
	})
}

func (m *maker) secretTLS() *cobra.Command {
	var tls tlsFiles
	return m.secret(secretRecipe{
		word:    "tls",
		short:   "Create or change a Secret with certificates",
		example: "  flux create secret tls certs --tls-crt-file=client.crt --tls-key-file=client.key --ca-crt-file=ca.crt",
		flags:   tls.define,
		build: func(_ context.Context, d *secretDoc) error {
			if !tls.pair() && tls.ca == "" {
				return errors.New("no certificates: give --tls-crt-file and --tls-key-file, or --ca-crt-file")
			}
			d.kind = corev1.SecretTypeOpaque
			if tls.pair() {
				d.kind = corev1.SecretTypeTLS
			}
			return tls.addTo(d)
		},
	})
}

func (m *maker) secretProxy() *cobra.Command {
	var address string
	var user login
	return m.secret(secretRecipe{
		word:    "proxy",
		short:   "Create or change a Secret for a proxy",
		example: "  flux create secret proxy outbound --address=https://proxy.example.com:3128",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&address, "address", "", "address of the proxy: http, https or socks5")
			user.define(flags)
		},
		build: func(_ context.Context, d *secretDoc) error {
			if address == "" {
				return errors.New("address is required")
			}
			d.kind = corev1.SecretTypeOpaque
			d.set("address", address)
			if user.username != "" {
				d.set("username", user.username)
			}
			if user.password != "" {
				d.set("password", user.password)
			}
			return nil
		},
	})
}

func (m *maker) secretGitHubApp() *cobra.Command {
	var id, installation, owner, baseURL, key string
	return m.secret(secretRecipe{
		word:    "githubapp",
		short:   "Create or change a Secret for a GitHub App",
		example: "  flux create secret githubapp app --app-id=1 --app-installation-id=2 --app-private-key=key.pem",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&id, "app-id", "", "id of the app")
			flags.StringVar(&installation, "app-installation-id", "", "id of the installation")
			flags.StringVar(&owner, "app-installation-owner", "", "organisation or user that the app is installed for, instead of the installation's id")
			flags.StringVar(&key, "app-private-key", "", "file with the app's private key, PEM encoded")
			flags.StringVar(&baseURL, "app-base-url", "", "address of a GitHub Enterprise Server's API")
		},
		build: func(_ context.Context, d *secretDoc) error {
			switch {
			case id == "":
				return errors.New("--app-id is required")
			case (installation == "") == (owner == ""):
				return errors.New("one of --app-installation-id and --app-installation-owner is required")
			case key == "":
				return errors.New("--app-private-key is required")
			}
			d.kind = corev1.SecretTypeOpaque
			d.set("githubAppID", id)
			for field, value := range map[string]string{
				"githubAppInstallationID": installation, "githubAppInstallationOwner": owner, "githubAppBaseURL": baseURL,
			} {
				if value != "" {
					d.set(field, value)
				}
			}
			return d.file("githubAppPrivateKey", key)
		},
	})
}

func (m *maker) secretNotation() *cobra.Command {
	var authorities []string
	var policy string
	return m.secret(secretRecipe{
		word:    "notation",
		short:   "Create or change a Secret for the verification of signatures with Notation",
		example: "  flux create secret notation trust --ca-cert-file=ca.crt --trust-policy-file=trustpolicy.json",
		flags: func(flags *pflag.FlagSet) {
			flags.StringSliceVar(&authorities, "ca-cert-file", nil, "root certificate, a .crt or .pem file; may be given several times")
			flags.StringVar(&policy, "trust-policy-file", "", "trust policy, a JSON file")
		},
		build: func(_ context.Context, d *secretDoc) error {
			if len(authorities) == 0 {
				return errors.New("--ca-cert-file is required")
			}
			if policy == "" {
				return errors.New("--trust-policy-file is required")
			}
			for _, name := range authorities {
				if ext := filepath.Ext(name); ext != ".crt" && ext != ".pem" {
					return fmt.Errorf("%s: a certificate's file must end in .crt or .pem", name)
				}
				if err := d.file(filepath.Base(name), name); err != nil {
					return err
				}
			}
			if err := d.file("trustpolicy.json", policy); err != nil {
				return err
			}
			var parsed map[string]any
			if err := json.Unmarshal([]byte(d.data["trustpolicy.json"]), &parsed); err != nil {
				return fmt.Errorf("failed to unmarshal trust policy %s: %w", policy, err)
			}
			d.kind = corev1.SecretTypeOpaque
			return nil
		},
	})
}
