package controllers

import (
	"testing"
)

func TestMirrorsAreShared(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for reason, tt := range map[string]struct {
		flags []string
		want  int
	}{
		"one repository, one mirror":             {nil, 1},
		"algorithms of one's own, one's mirrors": {[]string{"--image-automation.ssh-kex-algos=curve25519-sha256"}, 2},
	} {
		c := registered(t, append([]string{"flux-controller", "--controllers=source,image-automation", "--metrics-addr=0", "--health-addr=0",
			"--storage-addr=" + free(t), "--source.storage-path=" + t.TempDir()}, tt.flags...)...)
		open := c.chosen[0].values.mirrors
		if len(open) != tt.want {
			t.Errorf("%s: %d stores, want %d", reason, len(open), tt.want)
		}
	}
}
