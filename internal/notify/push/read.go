package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// readers by the type of Receiver.
var readers = map[string]func(*payload) *Push{
	"github":       readGitHub,
	"gitlab":       readGitLab,
	"bitbucket":    readBitbucket,
	"dockerhub":    readDockerHub,
	"quay":         readQuay,
	"gcr":          readGCR,
	"harbor":       readHarbor,
	"acr":          readACR,
	"generic":      readGeneric,
	"generic-hmac": readGeneric,
	"generic-oidc": readGeneric,
}

// Knows tells whether calls of a Receiver type name their repository.
func Knows(receiverType string) bool { return readers[receiverType] != nil }

// Call is a webhook call that was accepted.
type Call struct {
	// Type of the Receiver.
	Type   string
	Header http.Header
	Body   []byte
	// Listed says that the Receiver lists the call's event among those that it wants: then more than a push counts.
	Listed bool
}

// Read returns what a call says was pushed; nil: nothing was, or nothing that we understand.
func Read(c Call) *Push {
	read := readers[c.Type]
	if read == nil {
		return nil
	}
	p := &payload{header: c.Header, listed: c.Listed}
	var otherForm *json.UnmarshalTypeError // some host's field of the same name; the others are read
	if err := json.Unmarshal(formPayload(c.Header, c.Body), &p.body); err != nil && !errors.As(err, &otherForm) {
		return nil
	}
	out := read(p)
	if out == nil {
		return nil
	}
	out.Repositories = slices.DeleteFunc(out.Repositories, func(s string) bool { return s == "" })
	if len(out.Repositories) == 0 {
		return nil
	}
	return out
}

// formPayload takes the JSON out of a form, in which GitHub can send it.
func formPayload(header http.Header, body []byte) []byte {
	if !strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return []byte(form.Get("payload"))
}

// readGeneric understands the forms of GitHub and GitLab, and the plain
// {"repository": "https://host/path", "ref": "refs/heads/main", "after": "…"}.
func readGeneric(p *payload) *Push {
	var plain string
	if json.Unmarshal(p.body.Repository, &plain) == nil && plain != "" {
		return &Push{Repositories: []string{plain}, Refs: list(p.body.Ref), Revision: moved(p.body.Before, p.body.After)}
	}
	if p.body.Project.HTTP != "" {
		return readGitLab(p)
	}
	return readGitHub(p)
}

// is tells whether the call's event is one of some, by the header that names it; without the header, by the form.
func (p *payload) is(header string, form bool, events ...string) bool {
	event := p.header.Get(header)
	if event == "" {
		return form
	}
	return slices.ContainsFunc(events, func(e string) bool { return strings.EqualFold(e, event) })
}

// cutTag takes the tag off the name of an image.
func cutTag(s string) (name, tag string) {
	if at := strings.LastIndexByte(s, ':'); at > strings.LastIndexByte(s, '/') {
		return s[:at], s[at+1:]
	}
	return s, ""
}

// moved names a change of a reference.
func moved(before, after string) string {
	if before == "" || after == "" {
		return after
	}
	return before + ".." + after
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
