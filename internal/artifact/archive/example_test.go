package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	for _, name := range []string{"deploy.yaml", "logo.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			panic(err)
		}
	}
	tree, err := archive.OpenDir(dir)
	if err != nil {
		panic(err)
	}
	defer tree.Close() //nolint:errcheck // an example

	var out bytes.Buffer
	builder := archive.NewBuilder(archive.Options{})
	summary, err := builder.Write(context.Background(), &out, tree, archive.Ignore{SourceIgnore: true, Defaults: true})
	fmt.Println(summary.Entries, "entries,", err)
	fmt.Println(artifact.DigestOf(artifact.SHA256, out.Bytes()))
	// Output:
	// 2 entries, <nil>
	// sha256:f9e1e8004d346b37bb8d27d7cd02e9249f628eb0387d49996786c82382759be0
}
