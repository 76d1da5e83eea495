package notify

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// senders keeps one sender for each Provider, with its connections, as long as neither the Provider
// nor its Secrets change.
type senders struct {
	m       *kernel.Manager
	secrets *secrets
	policy  providers.Policy
	mails   *providers.Mails
	clouds  *cloud.Clouds
	// account is the ServiceAccount of Providers that name none.
	account string
	mu      sync.Mutex
	open    map[types.NamespacedName]*opened
}

type opened struct {
	uid        types.UID
	generation int64
	versions   map[string]string
	read       time.Time
	config     *providers.Config
	sender     providers.BatchSender
}

func newSenders(m *kernel.Manager, s *secrets, policy providers.Policy, o Options) *senders {
	return &senders{m: m, secrets: s, policy: policy, mails: providers.NewMails(), clouds: o.Clouds, account: o.DefaultAccount, open: map[types.NamespacedName]*opened{}}
}

// get returns the sender of a Provider.
func (s *senders) get(ctx context.Context, p *notificationv1.Provider) (providers.BatchSender, error) {
	key := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
	s.mu.Lock()
	have := s.open[key]
	s.mu.Unlock()
	if have != nil && have.uid == p.UID && have.generation == p.Generation && s.current(key.Namespace, have) {
		return have.sender, nil
	}
	fresh, err := s.make(ctx, p)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.open[key]; old != nil {
		old.config.Close()
	}
	s.open[key] = fresh
	return fresh.sender, nil
}

func (s *senders) current(namespace string, o *opened) bool {
	for name, version := range o.versions {
		if !s.secrets.current(types.NamespacedName{Namespace: namespace, Name: name}, version, o.read) {
			return false
		}
	}
	return true
}

func (s *senders) make(ctx context.Context, p *notificationv1.Provider) (*opened, error) {
	account, err := s.identity(ctx, p)
	if err != nil {
		return nil, err
	}
	o := &opened{uid: p.UID, generation: p.Generation, versions: map[string]string{}, read: time.Now()}
	o.config, err = providers.Read(p, func(name string) (map[string][]byte, error) {
		data, version, err := s.secrets.get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: name})
		o.versions[name] = version
		if err != nil {
			return nil, &readError{err}
		}
		return data, nil
	})
	if err != nil {
		return nil, err
	}
	for _, warning := range o.config.Warnings {
		ctrllog.Log.WithName("event-server").Info(warning, "provider", p.Namespace+"/"+p.Name)
	}
	o.config.Clouds, o.config.Account = s.clouds, account
	o.config.Policy, o.config.Mails = s.policy, s.mails
	o.config.RevisionURL = s.revisionURL
	o.sender, err = o.config.Open()
	return o, err
}

// identity is the ServiceAccount whose identity at a cloud the Provider uses; nil: the controller's.
func (s *senders) identity(ctx context.Context, p *notificationv1.Provider) (*cloud.Account, error) {
	name := p.Spec.ServiceAccountName
	if err := s.m.CheckCloudAccount(name, "spec.serviceAccountName", "provider"); err != nil {
		return nil, err
	}
	fallback := s.account
	if p.Spec.SecretRef != nil || !providers.UsesCloud(p.Spec.Type) {
		fallback = ""
	}
	account, err := s.m.CloudAccount(ctx, p.Namespace, name, fallback)
	if err != nil {
		return nil, &readError{err}
	}
	return cloud.AccountOf(account), nil
}

// forget lets go of the connections of a Provider that is no more.
func (s *senders) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.open[key]; old != nil {
		old.config.Close()
		delete(s.open, key)
	}
}

// readError is a Secret that could not be read, which may pass.
type readError struct{ err error }

func (e *readError) Error() string                { return e.err.Error() }
func (e *readError) Unwrap() error                { return e.err }
func (e *readError) Retry() (time.Duration, bool) { return 0, true }
