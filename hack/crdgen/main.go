// Command crdgen makes the custom resource definitions that we install, and the field tables of
// the reference pages.
//
// The current version of each kind comes from its Go types: controller-gen turns them into a
// definition with one version, which is the input here. The older versions that we still serve
// come from api/<group>/legacy/<kind>.txt, see legacy.go. Their fields are all in the Go types
// too, marked deprecated, because the API server keeps of an object only what the storage
// version knows.
//
// Usage: crdgen -in DIR -api DIR -out DIR [-docs DIR]
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	in := flag.String("in", "", "directory with the output of controller-gen")
	api := flag.String("api", "api", "directory with the groups and their legacy versions")
	out := flag.String("out", "manifests/crds", "directory to write the definitions to")
	docs := flag.String("docs", "", "directory with the pages of the kinds, whose tables are renewed")
	flag.Parse()
	if err := run(*in, *api, *out, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func run(in, api, out, docs string) error {
	crds, err := build(in, api)
	if err != nil {
		return err
	}
	if err := writeCRDs(out, crds); err != nil {
		return err
	}
	if docs == "" {
		return nil
	}
	return writeDocs(docs, crds)
}
