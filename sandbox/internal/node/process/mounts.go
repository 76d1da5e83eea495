package process

import (
	"path/filepath"
	"sort"
	"strings"
)

// mounts maps the paths that a container believes in to directories on this
// machine. There is no file system of the container's own, so a path is only
// translated where we see it: in arguments and variables.
type mounts map[string]string

// rewrite translates a path at or below a mount path; anything else, and a path
// below no mount, stays. The longest mount path wins.
func (m mounts) rewrite(value string) string {
	if !strings.HasPrefix(value, "/") {
		return value
	}
	best := ""
	for path := range m {
		if (value == path || strings.HasPrefix(value, strings.TrimSuffix(path, "/")+"/")) && len(path) > len(best) {
			best = path
		}
	}
	if best == "" {
		return value
	}
	return filepath.Join(m[best], strings.TrimPrefix(value, best))
}

// argument translates an argument, which is a path or a flag with one.
func (m mounts) argument(argument string) string {
	name, value, ok := strings.Cut(argument, "=")
	if ok && strings.HasPrefix(name, "-") {
		return name + "=" + m.rewrite(value)
	}
	return m.rewrite(argument)
}

// String lists the mounts as PATH=DIRECTORY, separated by colons, for programs
// that want to translate their own defaults.
func (m mounts) String() string {
	list := make([]string, 0, len(m))
	for path, dir := range m {
		list = append(list, path+"="+dir)
	}
	sort.Strings(list)
	return strings.Join(list, string(filepath.ListSeparator))
}
