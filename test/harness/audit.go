package harness

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Request is one line of the API server's audit log, as far as budgets are concerned.
type Request struct {
	User, Verb, Resource, Subresource, Namespace, Name string
	Code                                               int
	DryRun                                             bool
	At                                                 time.Time
}

// String names the kind of request: its verb, resource and whether it was a dry-run.
func (r Request) String() string {
	s := r.Verb + " " + r.Resource
	if r.Subresource != "" {
		s += "/" + r.Subresource
	}
	if r.DryRun {
		s += " (dry-run)"
	}
	return s
}

// Audit reads the API server's audit log from where it ended when the Audit was made.
type Audit struct {
	path   string
	offset int64
}

// NewAudit marks the present end of the log.
func NewAudit(path string) (*Audit, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &Audit{path: path, offset: info.Size()}, nil
}

// Since returns the requests of the users that were completed since the mark, leases and watches'
// closing lines excluded, and moves the mark.
func (a *Audit) Since(users ...string) ([]Request, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, u := range users {
		wanted[u] = true
	}
	var out []Request
	for r := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return out, nil // half a line is read the next time
		} else if err != nil {
			return nil, err
		}
		a.offset += int64(len(line))
		if req, ok := parse(line); ok && wanted[req.User] {
			out = append(out, req)
		}
	}
}

func parse(line string) (Request, bool) {
	var e struct {
		Stage, Verb, RequestURI  string
		RequestReceivedTimestamp time.Time
		User                     struct{ Username string }
		ImpersonatedUser         *struct{ Username string }
		ObjectRef                struct{ Resource, Subresource, Namespace, Name string }
		ResponseStatus           struct{ Code int }
	}
	if json.Unmarshal([]byte(line), &e) != nil || e.Stage == "RequestReceived" {
		return Request{}, false
	}
	if e.ObjectRef.Resource == "leases" || (e.Verb == "watch" && e.Stage != "ResponseStarted") {
		return Request{}, false
	}
	resource := e.ObjectRef.Resource
	if resource == "" {
		resource, _, _ = strings.Cut(e.RequestURI, "?")
	}
	return Request{
		User: e.User.Username, Verb: e.Verb, Resource: resource, Subresource: e.ObjectRef.Subresource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Code: e.ResponseStatus.Code,
		DryRun: strings.Contains(e.RequestURI, "dryRun="), At: e.RequestReceivedTimestamp,
	}, true
}

// Summary counts requests by kind, the most frequent first, for a person to read.
func Summary(reqs []Request) string {
	counts := map[string]int{}
	for _, r := range reqs {
		counts[r.String()]++
	}
	kinds := make([]string, 0, len(counts))
	for k := range counts {
		kinds = append(kinds, k)
	}
	sort.Slice(kinds, func(i, j int) bool {
		if counts[kinds[i]] != counts[kinds[j]] {
			return counts[kinds[i]] > counts[kinds[j]]
		}
		return kinds[i] < kinds[j]
	})
	var b strings.Builder
	for i, k := range kinds {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(counts[k]) + " " + k)
	}
	return b.String()
}
