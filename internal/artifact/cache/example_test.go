package cache_test

import (
	"context"
	"fmt"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
)

// A consumer notes the digests of what it reads, and so can tell whether a new artifact concerns it.
func Example() {
	trees, err := cache.Open(cache.Options{Dir: "/tmp/artifacts", Fetcher: fetch.New(fetch.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer trees.Close() //nolint:errcheck // the process ends

	seen := map[string]string{}
	build := func(ref artifact.Ref) error {
		tree, err := trees.Acquire(context.Background(), ref)
		if err != nil {
			return err
		}
		defer tree.Release()
		digest := tree.Digest("apps/web")
		if digest == seen["apps/web"] {
			return nil // nothing that was read has changed
		}
		seen["apps/web"] = digest
		fmt.Println("building", tree.Files("apps/web"))
		return nil
	}
	_ = build
}
