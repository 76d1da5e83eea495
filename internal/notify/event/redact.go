package event

import (
	"regexp"
	"strings"
)

var (
	// userPart is what stands before the host of a URL; some services take a token there without a password.
	userPart = regexp.MustCompile(`://[^/?#\s"'<>]*@`)
	// secretValue is a value under a name that says that it is secret, as in signed addresses.
	secretValue = regexp.MustCompile(`(?i)((?:^|[^a-z0-9])(?:[a-z0-9]+[-_])*(?:sig|signature|token|password|passwd|secret|apikey|api[-_]key)=)[^&\s"'<>;,]+`)
)

const hidden = "*****"

// Redacted is the event as it may be kept outside the process: without what looks like a credential in its message and
// metadata. Whoever posts an event should have taken them out; this is for those who have not.
func (e *Event) Redacted() *Event {
	out := *e
	out.Message = redact(e.Message)
	if e.Metadata != nil {
		out.Metadata = make(map[string]string, len(e.Metadata))
		for k, v := range e.Metadata {
			out.Metadata[k] = redact(v)
		}
	}
	return &out
}

func redact(s string) string {
	s = userPart.ReplaceAllStringFunc(s, func(part string) string {
		if part == "://git@" {
			return part // everybody's
		}
		return "://" + hidden + part[strings.LastIndex(part, "@"):]
	})
	return secretValue.ReplaceAllString(s, "${1}"+hidden)
}
