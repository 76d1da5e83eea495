package ui

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrAborted is returned by commands whose question was not answered with yes.
var ErrAborted = errors.New("aborting")

// maxAnswer bounds what is read from stdin for one answer, in bytes.
const maxAnswer = 64 << 10

// Confirm asks a yes-or-no question on out; anything but y or yes, and the end of input, is no.
func Confirm(in io.Reader, out io.Writer, label string) error {
	fmt.Fprintf(out, "? %s? [y/N] ", label)
	answer, err := readLine(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintln(out)
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return ErrAborted
}

// Password reads a secret: hidden on a terminal, one line when piped.
func Password(in io.Reader, out io.Writer, label string) (string, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprintf(out, "%s: ", label)
		secret, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(out)
		return string(secret), err
	}
	secret, err := readLine(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(secret, "\r\n"), nil
}

// readLine takes one line and no byte more, so that a second question finds its own answer.
func readLine(in io.Reader) (string, error) {
	if buffered, ok := in.(*bufio.Reader); ok {
		return buffered.ReadString('\n')
	}
	var line strings.Builder
	var one [1]byte
	for line.Len() < maxAnswer {
		n, err := in.Read(one[:])
		if n == 1 {
			line.WriteByte(one[0])
			if one[0] == '\n' {
				return line.String(), nil
			}
		}
		if err != nil {
			return line.String(), err
		}
	}
	return "", fmt.Errorf("answer is longer than %d bytes", maxAnswer)
}
