package fleet

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
)

// Report is what a run says.
type Report struct {
	// Repository is the directory that was tested.
	Repository string `json:"repository"`
	// Clusters are its clusters, each of which had a sandbox of its own.
	Clusters []Cluster `json:"clusters"`
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Skipped  int       `json:"skipped"`
}

// Cluster is one of the clusters of the repository.
type Cluster struct {
	// Path is the directory that the cluster follows.
	Path string `json:"path"`
	// Error says why the cluster could not be tried.
	Error    string    `json:"error,omitempty"`
	Objects  []Outcome `json:"objects"`
	StandIns []StandIn `json:"standIns,omitempty"`
	Seconds  float64   `json:"seconds"`
}

// Outcome is what became of one object.
type Outcome struct {
	Kind      string  `json:"kind"`
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason,omitempty"`
	Message   string  `json:"message,omitempty"`
	// File and line of the object in the repository, where it is written in plain.
	File string `json:"file,omitempty"`
	// Path is the directory that a Kustomization builds.
	Path string `json:"path,omitempty"`
	// Applied counts the objects that it applied.
	Applied int     `json:"applied,omitempty"`
	Seconds float64 `json:"seconds"`
}

// path is the directory that a Kustomization builds.
func (s *state) path() string {
	if ks, ok := s.obj.(*kustomizev1.Kustomization); ok {
		return clean(ks.Spec.Path)
	}
	return ""
}

func (o Outcome) subject() string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

func (r *Report) add(c Cluster) {
	r.Clusters = append(r.Clusters, c)
	if c.Error != "" {
		r.Failed++
	}
	for _, o := range c.Objects {
		switch o.Verdict {
		case Passed:
			r.Passed++
		case Failed:
			r.Failed++
		default:
			r.Skipped++
		}
	}
}

// Print writes the report as text, json or junit.
func (r *Report) Print(w io.Writer, form string) error {
	switch form {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	case "junit":
		return r.junit(w)
	}
	return r.text(w)
}

var glyphs = map[Verdict]string{Passed: "✔", Failed: "✗", Skipped: "○"}

func (r *Report) text(w io.Writer) error {
	var b strings.Builder
	for _, c := range r.Clusters {
		fmt.Fprintf(&b, "%s\n", c.Path)
		if c.Error != "" {
			fmt.Fprintf(&b, "  ✗ %s\n", indented(c.Error))
		}
		for _, o := range c.Objects {
			fmt.Fprintf(&b, "  %s %s%s\n", glyphs[o.Verdict], o.subject(), o.place())
			if o.Verdict != Passed {
				fmt.Fprintf(&b, "      %s\n", indented(o.Message))
			}
		}
		for _, s := range c.StandIns {
			fmt.Fprintf(&b, "  stand-in: %s%s: %s\n", s.Object, prefixed(" for ", s.For), s.Why)
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, r.Skipped)
	_, err := io.WriteString(w, b.String())
	return err
}

func (o Outcome) place() string {
	var parts []string
	if o.Path != "" {
		parts = append(parts, "path "+o.Path)
	}
	if o.File != "" {
		parts = append(parts, "in "+o.File)
	}
	if o.Verdict == Passed && o.Applied > 0 {
		parts = append(parts, fmt.Sprintf("%d objects", o.Applied))
	}
	if len(parts) == 0 {
		return ""
	}
	return "  (" + strings.Join(parts, ", ") + ")"
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
	Out      string      `xml:"system-out,omitempty"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	File    string     `xml:"file,attr,omitempty"`
	Time    string     `xml:"time,attr"`
	Failure *junitText `xml:"failure,omitempty"`
	Error   *junitText `xml:"error,omitempty"`
	Skipped *junitText `xml:"skipped,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

func (r *Report) junit(w io.Writer) error {
	all := junitSuites{Name: "flux sandbox test " + r.Repository, Tests: r.Passed + r.Failed + r.Skipped, Failures: r.Failed, Skipped: r.Skipped}
	for _, c := range r.Clusters {
		all.Suites = append(all.Suites, c.junit())
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (c Cluster) junit() junitSuite {
	suite := junitSuite{Name: c.Path, Time: seconds(c.Seconds)}
	if c.Error != "" {
		suite.Errors = 1
		suite.Cases = append(suite.Cases, junitCase{Class: "Cluster", Name: c.Path, Time: seconds(c.Seconds), Error: &junitText{Message: first(c.Error), Text: c.Error}})
	}
	for _, o := range c.Objects {
		one := junitCase{Class: o.Kind, Name: o.Namespace + "/" + o.Name, File: o.File, Time: seconds(o.Seconds)}
		text := &junitText{Message: first(o.Message), Type: cmp.Or(o.Reason, string(o.Verdict)), Text: o.Message + o.place()}
		switch o.Verdict {
		case Failed:
			suite.Failures++
			one.Failure = text
		case Skipped:
			suite.Skipped++
			one.Skipped = text
		}
		suite.Cases = append(suite.Cases, one)
	}
	suite.Tests = len(suite.Cases)
	for _, s := range c.StandIns {
		suite.Out += fmt.Sprintf("stand-in: %s%s: %s\n", s.Object, prefixed(" for ", s.For), s.Why)
	}
	return suite
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
