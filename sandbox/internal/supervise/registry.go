package supervise

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // where blobs are kept
	"github.com/sirupsen/logrus"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// registry is an OCI registry on loopback, over plain HTTP, open to everybody
// on this machine.
type registry struct {
	app    *handlers.App
	server *http.Server
}

func (s *Supervisor) startRegistry() error {
	address := loopback(s.state.Ports.Registry)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	logrus.SetLevel(logrus.ErrorLevel) // the registry logs every request otherwise
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem":  configuration.Parameters{"rootdirectory": s.dir.Path("registry")},
			"delete":      configuration.Parameters{"enabled": true},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.Log.Level = "error"
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = rand.Text()
	r := &registry{app: handlers.NewApp(context.Background(), config)}
	r.server = &http.Server{Handler: r.app, ReadHeaderTimeout: 30 * time.Second}
	go func() {
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logrus.Errorf("serve the registry: %v", err)
		}
	}()
	s.services.registry = r
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Registry = &state.Registry{Address: address}
	return nil
}

func (r *registry) close() {
	r.server.Close()
	r.app.Shutdown()
}
