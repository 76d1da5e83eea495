// Command flux-controller is all controllers in one binary; see internal/controllers.
package main

import (
	"os"

	"github.com/gitops-toolkit/flux/internal/controllers"
)

func main() { os.Exit(controllers.Main(os.Args, os.Stdout, os.Stderr)) }
