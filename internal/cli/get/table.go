package get

import (
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

func (q *query) table(k *kinds.Kind, objs []meta.Object) *ui.Table {
	t := &ui.Table{NoHeader: q.noHeader}
	if q.namespace == "" {
		t.Header = append(t.Header, "Namespace")
	}
	t.Header = append(t.Header, "Name")
	if q.showSource && k.ShowSource != nil {
		t.Header = append(t.Header, "Source")
	}
	for _, column := range k.Columns {
		t.Header = append(t.Header, column.Title)
	}
	t.Header = append(t.Header, "Ready", "Message")
	for _, obj := range objs {
		t.Append(q.row(k, obj)...)
	}
	return t
}

func (q *query) row(k *kinds.Kind, obj meta.Object) []string {
	var row []string
	if q.namespace == "" {
		row = append(row, obj.GetNamespace())
	}
	name := obj.GetName()
	if q.prefixed {
		name = strings.ToLower(k.Kind) + "/" + name
	}
	row = append(row, name)
	if q.showSource && k.ShowSource != nil {
		row = append(row, k.ShowSource(obj).String())
	}
	for _, column := range k.Columns {
		row = append(row, k.Shorten(column.Cell(obj)))
	}
	status, message := k.Ready(obj)
	return append(row, status, k.Shorten(message))
}

// conditionSelector chooses objects by a condition: type=status or type!=status.
type conditionSelector struct {
	kind   string
	status string
	negate bool
}

func parseSelector(text string) (*conditionSelector, error) {
	if text == "" {
		return nil, nil
	}
	kind, status, ok := strings.Cut(text, "=")
	negate := strings.HasSuffix(kind, "!")
	kind = strings.TrimSuffix(kind, "!")
	if !ok || kind == "" || status == "" || strings.Contains(status, "=") {
		return nil, fmt.Errorf("expected status selector in type=status or type!=status format, but found: %s", text)
	}
	return &conditionSelector{kind: kind, status: status, negate: negate}, nil
}

func (q *query) filter(k *kinds.Kind, objs []meta.Object) []meta.Object {
	if q.condition == nil {
		return objs
	}
	kept := objs[:0]
	for _, obj := range objs {
		if q.condition.matches(k, obj) {
			kept = append(kept, obj)
		}
	}
	return kept
}

func (s *conditionSelector) matches(k *kinds.Kind, obj meta.Object) bool {
	status := ""
	if c := kinds.Condition(obj, s.kind); c != nil {
		status = string(c.Status)
	} else if k.IsStatic(obj) && strings.EqualFold(s.kind, meta.ReadyCondition) {
		status, _ = k.Ready(obj)
	}
	return strings.EqualFold(status, s.status) != s.negate
}
