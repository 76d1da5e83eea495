package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Colours tells whether text for w may have colours: only on a terminal, and not with NO_COLOR.
func Colours(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}
