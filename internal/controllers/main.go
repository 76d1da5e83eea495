package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/version"
)

// Main runs the program with its arguments, the name under which it was started first, and
// returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, args, stdout, stderr)
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(stderr, "%s: %v\n", filepath.Base(args[0]), err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command, err := parse(args, stdout)
	if err != nil {
		return err
	}
	if command.version {
		_, err := fmt.Fprintln(stdout, version.Version)
		return err
	}
	return command.start(ctx, stderr)
}

// command is a parsed command line.
type command struct {
	chosen     []chosen
	kubeconfig string
	version    bool
}

// chosen is a controller to run with the values of its flags.
type chosen struct {
	Controller
	values Values
}

// parse reads the command line. Names of controllers as program names take that controller's
// flags and no others.
func parse(args []string, stdout io.Writer) (*command, error) {
	c := &command{}
	program := filepath.Base(args[0])
	fs := pflag.NewFlagSet(program, pflag.ContinueOnError)
	fs.SetOutput(stdout)
	fs.SortFlags = false
	fs.StringVar(&c.kubeconfig, "kubeconfig", "", "Path to a kubeconfig; by default KUBECONFIG, then the pod's ServiceAccount.")
	fs.BoolVar(&c.version, "version", false, "Print the version and exit.")
	if one, ok := Find(program); ok && program == one.Name {
		if err := define(fs, one, ""); err != nil {
			return nil, err
		}
		c.chosen = []chosen{{one, valuesOf(fs, one, "", newShared())}}
		return c, fs.Parse(args[1:])
	}
	names := fs.StringSlice("controllers", []string{"all"}, "Controllers to run, by name, separated by commas; all of them by default.")
	if err := defineAll(fs); err != nil {
		return nil, err
	}
	if err := fs.Parse(args[1:]); err != nil {
		return nil, err
	}
	return c, c.choose(fs, *names)
}

func define(fs *pflag.FlagSet, c Controller, prefix string) error {
	for _, f := range c.Flags {
		if err := f.add(fs, prefix, c.help(f)); err != nil {
			return err
		}
	}
	return nil
}

// defineAll defines every flag once without prefix, for all controllers that have it, and once
// for each controller with its prefix.
func defineAll(fs *pflag.FlagSet) error {
	for _, c := range All {
		for _, f := range c.Flags {
			if fs.Lookup(f.Name) == nil {
				if err := f.add(fs, "", f.Help); err != nil {
					return err
				}
			}
		}
		if err := define(fs, c, c.Short+"."); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) choose(fs *pflag.FlagSet, names []string) error {
	common := newShared()
	add := func(one Controller) {
		c.chosen = append(c.chosen, chosen{one, valuesOf(fs, one, one.Short+".", common)})
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "all" {
			c.chosen = nil
			for _, one := range All {
				add(one)
			}
			break
		}
		one, ok := Find(name)
		if !ok {
			return fmt.Errorf("--controllers: no controller is called %q", name)
		}
		if slices.ContainsFunc(c.chosen, func(o chosen) bool { return o.Name == one.Name }) {
			return fmt.Errorf("--controllers: %s is named twice", one.Name)
		}
		add(one)
	}
	if len(c.chosen) == 0 {
		return errors.New("--controllers: name at least one controller")
	}
	return c.checkGates(fs)
}

// checkGates refuses a gate given for all controllers that none of them knows.
func (c *command) checkGates(fs *pflag.FlagSet) error {
	_, shared := Values{flags: fs, prefix: "-"}.gates()
	for name := range shared {
		known := false
		for _, one := range c.chosen {
			_, has := one.Gates[name]
			_, ours := ourGates[name]
			known = known || has || ours
		}
		if !known {
			return fmt.Errorf("feature-gate '%s' not supported by any of the chosen controllers", name)
		}
	}
	return nil
}
