package health

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/apply/why"
)

const maxExplained = 10

// explain says why objects are not ready. It reads pods and events with the owner's rights; what it
// may not read it leaves out.
func (w *waiter) explain(ctx context.Context, states []State) string {
	ctx, cancel := context.WithTimeout(ctx, why.Timeout)
	defer cancel()
	var lines []string
	for i, s := range states {
		if i == maxExplained {
			lines = append(lines, fmt.Sprintf("and %d more", len(states)-i))
			break
		}
		said := ""
		if s.Err != nil {
			said = s.Err.Error()
		}
		if text := why.NotReady(ctx, w.Client, s.Ref, s.live, s.Message, said); text != "" {
			lines = append(lines, s.Subject()+": "+text)
		}
	}
	return strings.Join(lines, "\n")
}
