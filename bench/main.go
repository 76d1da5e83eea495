// Command bench measures the budgets of the design on a sandbox of its own and prints, for each
// kind of work, what upstream was measured at, what our budget is, what we need, and the ratio of
// the last two. It asserts no wall-clock time: seconds are for reading.
//
//	go run ./bench [-run REGEXP] [-n OBJECTS]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// row is one line of the design's table of budgets.
type row struct {
	work, upstream, budget string
	measure                func(context.Context, *world) ([]figure, error)
}

// figure is one measured number beside its budget in the same unit.
type figure struct {
	what             string
	measured, budget float64
	unit             string
	detail           string
}

func main() {
	run := flag.String("run", "", "regular expression over the names of the rows")
	many := flag.Int("n", 500, "number of Kustomizations in the rows that measure many at once")
	keep := flag.Bool("keep", false, "keep the sandbox and the logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := benchmark(ctx, regexp.MustCompile(*run), *many, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "✗", err)
		os.Exit(1)
	}
}

func benchmark(ctx context.Context, only *regexp.Regexp, many int, keep bool) error {
	failed := 0
	for _, r := range rows {
		if !only.MatchString(r.work) {
			continue
		}
		fmt.Printf("\n%s\n  upstream, measured: %s\n  budget:             %s\n", r.work, r.upstream, r.budget)
		figures, err := measureOne(ctx, r, many, keep)
		if ctx.Err() != nil { // What was measured until then is worth nothing.
			return context.Cause(ctx)
		}
		if err != nil {
			fmt.Printf("  ✗ %v\n", err)
			failed++
			continue
		}
		for _, f := range figures {
			fmt.Println("  " + f.String())
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d rows could not be measured", failed)
	}
	return ctx.Err()
}

// measureOne gives the row a world of its own, so that no row pays for another's leftovers.
func measureOne(ctx context.Context, r row, many int, keep bool) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	w, err := newWorld(ctx, many)
	if err != nil {
		return nil, err
	}
	if !keep {
		defer w.close()
	}
	return r.measure(ctx, w)
}

func (f figure) String() string {
	mark := "✔"
	if f.budget >= 0 && f.measured > f.budget {
		mark = "✗"
	}
	s := fmt.Sprintf("%s %-34s %10.4g %-10s", mark, f.what, f.measured, f.unit)
	switch {
	case f.budget > 0:
		s += fmt.Sprintf(" budget %8.4g   ratio %.2f", f.budget, f.measured/f.budget)
	case f.budget == 0:
		s += " budget        0"
	}
	if f.detail != "" {
		s += "   (" + f.detail + ")"
	}
	return s
}
