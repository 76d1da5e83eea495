package controllers

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// heapBudget is what package initialisation may leave on the heap. Heavy SDKs (clouds, SOPS back
// ends) belong behind a function that is called when they are first used; before you raise the
// number look at GODEBUG=inittrace=1 for who allocates.
const heapBudget = 12 << 20

var heapAtMain uint64

func TestMain(m *testing.M) {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	heapAtMain = stats.HeapAlloc
	os.Exit(m.Run())
}

func TestHeapAtMain(t *testing.T) {
	if heapAtMain > heapBudget {
		t.Errorf("the heap holds %s at main, the budget is %s", mib(heapAtMain), mib(heapBudget))
	}
	t.Logf("heap at main: %s", mib(heapAtMain))
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
