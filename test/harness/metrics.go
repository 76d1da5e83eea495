package harness

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Passes returns how many reconciliations of an object the process has counted, from its metrics.
func (p *Process) Passes(kind, name string) (float64, error) {
	resp, err := http.Get(p.MetricsURL + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "gotk_reconcile_duration_seconds_count{") &&
			strings.Contains(line, fmt.Sprintf("kind=%q", kind)) && strings.Contains(line, fmt.Sprintf("name=%q", name)) {
			return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		}
	}
	return 0, fmt.Errorf("%s counts no reconciliation of %s/%s", p.Name, kind, name)
}
