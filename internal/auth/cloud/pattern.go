package cloud

import (
	"regexp"
	"sync"
)

// pattern compiles an expression when it is first asked for: these have long repetitions, and every
// start of flux would pay for them.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
