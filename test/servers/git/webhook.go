package git

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sort"
	"strings"
	"time"
)

// Push is what a push did.
type Push struct {
	Repo    string
	Changes []RefChange
}

// RefChange is one ref before and after a push; an empty hash means that it did not, or does not, exist.
type RefChange struct {
	Ref, Old, New string
}

// webhookTimeout bounds the delivery to one URL.
const webhookTimeout = 10 * time.Second

// call is what GitHub says about the change of a ref, as far as it is known here.
type call struct {
	Ref        string `json:"ref"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Repository struct {
		Name     string `json:"full_name"`
		CloneURL string `json:"clone_url,omitempty"`
		SSHURL   string `json:"ssh_url,omitempty"`
	} `json:"repository"`
}

// noCommit stands for a ref that did not, or does not, exist.
const noCommit = "0000000000000000000000000000000000000000"

// AddWebhook has the server POST every change of a ref to the URL, in GitHub's form, and signed as GitHub signs if
// there is a secret. It is kept in the repository's configuration.
func (r *Repo) AddWebhook(url, secret string) error {
	if secret != "" {
		if _, err := r.Git(nil, "config", "webhook."+url+".secret", secret); err != nil {
			return err
		}
	}
	_, err := r.Git(nil, "config", "--add", "webhook.url", url)
	return err
}

func (r *Repo) webhookSecret(url string) string {
	secret, _ := r.Git(nil, "config", "--get", "webhook."+url+".secret") // without one it fails
	return strings.TrimSpace(secret)
}

func (r *Repo) webhooks() []string {
	out, err := r.Git(nil, "config", "--get-all", "webhook.url")
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}

// pushed tells OnPush at once and the webhooks in the background: a push never waits for them.
func (s *Server) pushed(p Push) {
	if s.opts.OnPush != nil {
		s.opts.OnPush(p)
	}
	repo, err := s.Repo(p.Repo)
	if err != nil {
		return
	}
	for _, url := range repo.webhooks() {
		secret := repo.webhookSecret(url)
		for _, change := range p.Changes {
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				s.post(url, secret, s.call(p.Repo, change))
			}()
		}
	}
}

func (s *Server) call(repo string, change RefChange) []byte {
	c := call{Ref: change.Ref, Before: cmp.Or(change.Old, noCommit), After: cmp.Or(change.New, noCommit)}
	c.Repository.Name = repo
	if s.httpLn != nil {
		c.Repository.CloneURL = s.HTTPURL(repo)
	}
	if s.sshLn != nil {
		c.Repository.SSHURL = s.SSHURL(repo)
	}
	body, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings only
	}
	return body
}

func (s *Server) post(url, secret string, body []byte) {
	client := &http.Client{Timeout: webhookTimeout}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Event", "push")
	req.Header.Set("X-GitHub-Event", "push")
	if secret != "" {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

func diffRefs(before, after map[string]string) (changes []RefChange) {
	for ref, hash := range after {
		if before[ref] != hash {
			changes = append(changes, RefChange{Ref: ref, Old: before[ref], New: hash})
		}
	}
	for ref, hash := range before {
		if _, ok := after[ref]; !ok {
			changes = append(changes, RefChange{Ref: ref, Old: hash})
		}
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Ref < changes[j].Ref })
	return changes
}
