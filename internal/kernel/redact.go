package kernel

import "regexp"

// credentials matches a password in the user part of a URL.
var credentials = regexp.MustCompile(`(://[^/@:\s"']*):[^/@\s"']+@`)

// redact hides passwords of URLs in text that leaves the process. It is the last line of
// defence: whoever writes a message keeps secrets out of it.
func redact(s string) string {
	return credentials.ReplaceAllString(s, "$1:*****@")
}
