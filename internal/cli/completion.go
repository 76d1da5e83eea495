package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/install"
)

// completeFlags offers values for flags below a command: the words of those that take only some, and the names of
// objects of those that refer to them.
func completeFlags(s *session.Session, cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		complete := completionOf(s, cmd, f)
		if complete == nil {
			return
		}
		if _, several := f.Value.(pflag.SliceValue); several {
			complete = session.CompleteList(complete)
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // an inherited flag has its own already
	})
	for _, child := range cmd.Commands() {
		completeFlags(s, child)
	}
}

// completionOf returns nil for flags whose values nobody can know.
func completionOf(s *session.Session, cmd *cobra.Command, f *pflag.Flag) cobra.CompletionFunc {
	switch v := f.Value.(type) {
	case *value.Checked:
		if len(v.Values) > 0 {
			return words(v.Values...)
		}
	case interface{ Kinds() []string }:
		return session.CompleteReferences(s, resources(v.Kinds()...)...)
	}
	switch f.Name {
	case "namespace", "target-namespace", "storage-namespace", "flux-namespace", "git-repo-namespace", "with-namespace":
		return session.CompleteNamespaces(s)
	case "for", "event-source", "resource":
		return session.CompleteReferences(s, resources(kindNames()...)...)
	case "kind":
		if cmd.Name() == "logs" { // elsewhere it is any kind of the cluster
			return words(kindNames()...)
		}
	case "depends-on":
		return session.CompleteNames(s, kinds.ByPath(cmd.Name()).Resource)
	case "provider-ref":
		return session.CompleteNames(s, kinds.Provider.Resource)
	case "image-ref":
		return session.CompleteNames(s, kinds.ImageRepository.Resource)
	case "git-repo-ref":
		return session.CompleteNames(s, kinds.GitRepository.Resource)
	case "components":
		return words(slices.Concat(install.DefaultComponents, install.ExtraComponents)...)
	case "components-extra":
		return words(install.ExtraComponents...)
	case "status-selector":
		return words("ready=true", "ready=false", "ready=unknown", "reconciling=true", "stalled=true")
	case "types":
		return words("Normal", "Warning")
	}
	return nil
}

// words offers a few of them.
func words(list ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var found []string
		for _, word := range list {
			if len(word) >= len(prefix) && strings.EqualFold(word[:len(prefix)], prefix) {
				found = append(found, word)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func kindNames() (names []string) {
	for _, k := range kinds.All() {
		names = append(names, k.Kind)
	}
	return names
}

func resources(names ...string) (found []cluster.Resource) {
	for _, name := range names {
		if k := kinds.ByKind(name); k != nil {
			found = append(found, k.Resource)
		}
	}
	return found
}
