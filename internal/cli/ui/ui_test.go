package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	t.Parallel()
	for reason, test := range map[string]struct {
		table Table
		want  string
	}{
		"every cell is padded, the last row cell ends in a tab, the header does not": {
			Table{Header: []string{"Name", "Ready"}, Rows: [][]string{{"my-app", "True"}, {"x", "False"}}},
			"NAME  \tREADY\nmy-app\tTrue \t\nx     \tFalse\t\n",
		},
		"without a header its words take no width": {
			Table{Header: []string{"Suspended"}, Rows: [][]string{{"True"}}, NoHeader: true},
			"True\t\n",
		},
		"lines of a cell are rows of their own": {
			Table{Header: []string{"A", "B"}, Rows: [][]string{{"x", "one\n two"}}},
			"A\tB   \nx\tone \t\n \t two\t\n",
		},
		"width is counted in characters, not bytes": {
			Table{Header: []string{"A", "B"}, Rows: [][]string{{"é", "1"}, {"ab", "2"}}},
			"A \tB\né \t1\t\nab\t2\t\n",
		},
	} {
		var out bytes.Buffer
		if err := test.table.Write(&out); err != nil {
			t.Fatal(err)
		}
		if out.String() != test.want {
			t.Errorf("%s:\n%q, want\n%q", reason, out.String(), test.want)
		}
	}
}

func TestTableGrowsWhileWatching(t *testing.T) {
	t.Parallel()
	table := Table{Header: []string{"Name"}}
	var out bytes.Buffer
	for _, name := range []string{"a", "longer-name", "b"} {
		table.Append(name)
		if err := table.WriteNew(&out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "NAME\na   \t\nlonger-name\t\nb          \t\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, yes := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "y": true, "yep\n": false} {
		var out bytes.Buffer
		err := Confirm(strings.NewReader(answer), &out, "Sure")
		if yes != (err == nil) || err != nil && !errors.Is(err, ErrAborted) {
			t.Errorf("answer %q: %v", answer, err)
		}
		if !strings.HasPrefix(out.String(), "? Sure? [y/N] ") {
			t.Errorf("asked %q", out.String())
		}
	}
}

func TestAnswersAreReadOneByOne(t *testing.T) {
	t.Parallel()
	in := strings.NewReader("y\nsecret\n")
	if err := Confirm(in, &bytes.Buffer{}, "Sure"); err != nil {
		t.Fatal(err)
	}
	secret, err := Password(in, &bytes.Buffer{}, "Token")
	if err != nil || secret != "secret" {
		t.Errorf("secret %q, %v", secret, err)
	}
	if _, err := Password(strings.NewReader(strings.Repeat("x", maxAnswer+1)), &bytes.Buffer{}, "Token"); err == nil {
		t.Error("an endless answer was accepted")
	}
}
