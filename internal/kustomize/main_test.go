package kustomize_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run side by side than there are processors: they wait for timers of the controller and of the
// API server, and hardly compute.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" && f.Value.String() != f.DefValue })
	if !chosen {
		_ = flag.Set("test.parallel", "8") // a number is always taken
	}
	os.Exit(m.Run())
}
