package providers

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

// NOTIFIER_GITEA_DEBUG shows what is asked and answered, and no credential.
func TestGiteaDebug(t *testing.T) {
	c := contracts()["gitea"]
	for _, on := range []string{"true", "false", ""} {
		t.Setenv("NOTIFIER_GITEA_DEBUG", on)
		n := &network{c: c}
		config, sender, err := c.open(t, "gitea", n)
		if err != nil {
			t.Fatal(err)
		}
		debug, ok := config.HTTP.Transport.(*logged)
		if ok != (on == "true") {
			t.Errorf("NOTIFIER_GITEA_DEBUG=%q logs: %v", on, ok)
		}
		var lines []string
		if ok {
			debug.log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
			n.c.answers = map[string]string{"GET /api/v1/repos/o/r/commits/" + hash + "/statuses": `[{"context":"` + canary + `"}]`}
		}
		if err := sender.Send(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(lines, "\n")
		if ok && (len(lines) != 2 || !strings.Contains(lines[0], `"method"="GET"`) || !strings.Contains(lines[1], "/statuses/"+hash) || strings.Contains(all, canary)) {
			t.Errorf("logged\n%s", all)
		}
	}
}
