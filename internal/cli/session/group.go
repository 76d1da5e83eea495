package session

import (
	"strings"

	"github.com/spf13/cobra"
)

// Group is a set of words that only lead to other words, such as `source` in `get source git`.
type Group struct {
	Words   map[string][]string // aliases of a group word
	Titles  map[string]string   // one line of help for a group word
	parents map[string]*cobra.Command
}

// Place puts cmd below root at path, whose last word is the command's own; the groups on the
// way are made when first needed.
func (g *Group) Place(root *cobra.Command, path string, cmd *cobra.Command) {
	parent := root
	words := strings.Fields(path)
	for i, word := range words[:len(words)-1] {
		key := strings.Join(words[:i+1], " ")
		if g.parents == nil {
			g.parents = map[string]*cobra.Command{}
		}
		group := g.parents[key]
		if group == nil {
			group = &cobra.Command{Use: word, Aliases: g.Words[word], Short: g.Titles[word]}
			g.parents[key] = group
			parent.AddCommand(group)
		}
		parent = group
	}
	parent.AddCommand(cmd)
}

// Parent returns the group at path, nil before a command was placed in it.
func (g *Group) Parent(path string) *cobra.Command { return g.parents[path] }
