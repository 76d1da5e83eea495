package process

import "strings"

// expand replaces $(NAME) by the value of a variable, as Kubernetes does in
// commands, arguments and variables: an unknown name stays as written, and $$
// is a dollar sign.
func expand(s string, variables map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		rest := s[i+1:]
		if rest[0] == '$' {
			out.WriteByte('$')
			i++
			continue
		}
		end := strings.IndexByte(rest, ')')
		if rest[0] != '(' || end < 0 {
			out.WriteByte('$')
			continue
		}
		if value, ok := variables[rest[1:end]]; ok {
			out.WriteString(value)
		} else {
			out.WriteString("$" + rest[:end+1])
		}
		i += end + 1
	}
	return out.String()
}
