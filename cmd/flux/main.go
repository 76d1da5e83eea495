// flux is the command line of the toolkit.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gitops-toolkit/flux/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
