package git

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sort"
	"strings"
	"time"
)

// Push is what a push did.
type Push struct {
	Repo    string      `json:"repository"`
	Changes []RefChange `json:"changes"`
}

// RefChange is one ref before and after a push; an empty hash means that it did not, or does not, exist.
type RefChange struct {
	Ref string `json:"ref"`
	Old string `json:"before"`
	New string `json:"after"`
}

// webhookTimeout bounds the delivery to one URL.
const webhookTimeout = 10 * time.Second

// AddWebhook has the server POST each Push as JSON to the URL, with the headers X-Event: push and, for
// those who imitate GitHub's, X-GitHub-Event: push. It is kept in the repository's configuration.
func (r *Repo) AddWebhook(url string) error {
	_, err := r.Git(nil, "config", "--add", "webhook.url", url)
	return err
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
	body, err := json.Marshal(p)
	if err != nil {
		return
	}
	for _, url := range repo.webhooks() {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.post(url, body)
		}()
	}
}

func (s *Server) post(url string, body []byte) {
	client := &http.Client{Timeout: webhookTimeout}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Event", "push")
	req.Header.Set("X-GitHub-Event", "push")
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
