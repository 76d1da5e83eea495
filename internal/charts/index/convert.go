package index

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Summary tells what was in an index.
type Summary struct {
	// Charts and Versions that are in the stored form.
	Charts, Versions int
	// Skipped entries, which are not valid, and why the first of them are not.
	Skipped  int
	Problems []string
}

// maxProblems is how many problems are told.
const maxProblems = 5

// Convert reads an index in YAML or JSON and writes its stored form. Entries that are not valid are left out. Errors
// about the content are ErrSyntax, ErrLimit, ErrEmpty or ErrNoAPIVersion. temp is the directory for what is put aside;
// that of the system when empty.
func Convert(in io.ReadSeeker, out io.Writer, temp string) (*Places, Summary, error) {
	c, err := newCollector(temp)
	if err != nil {
		return nil, Summary{}, err
	}
	defer c.close()
	if err := read(in, c); err != nil {
		return nil, Summary{}, err
	}
	if c.head.APIVersion == "" {
		return nil, Summary{}, ErrNoAPIVersion
	}
	places, err := c.write(out)
	return places, c.summary, err
}

// read feeds an index to the collector, in the cheapest way that works.
func read(in io.ReadSeeker, c *collector) error {
	first, err := firstByte(in)
	if err != nil {
		return err
	}
	if first == '{' {
		err = readJSON(in, c)
	} else {
		err = cut(in, c)
	}
	if !errors.Is(err, errOdd) {
		return err
	}
	cause := err
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > maxWhole {
		return fmt.Errorf("%w: %w, which is supported in indexes up to %d bytes only; have it written as `helm repo index` does, or as JSON", ErrSyntax, cause, maxWhole)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.reset()
	return readWhole(in, c)
}

// firstByte finds the first byte that is no blank, and goes back to the start.
func firstByte(in io.ReadSeeker) (byte, error) {
	r := bufio.NewReader(in)
	for {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, ErrEmpty
		case err != nil:
			return 0, err
		case bytes.IndexByte([]byte(" \t\r\n"), b) < 0:
			_, err := in.Seek(0, io.SeekStart)
			return b, err
		}
	}
}

// readJSON reads an index token by token.
func readJSON(in io.Reader, c *collector) error {
	d := json.NewDecoder(bufio.NewReaderSize(in, 64<<10))
	err := object(d, func(key string) error {
		if key == "entries" {
			return chartsJSON(d, c)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		doc, err := json.Marshal(map[string]json.RawMessage{key: value})
		if err != nil {
			return err
		}
		return c.head.decode(json.Unmarshal, doc)
	})
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, errNotJSON):
		return fmt.Errorf("%w: it begins like JSON, but %w", errOdd, err) // flow style
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the end is missing", ErrSyntax)
	}
	return err
}

var errNotJSON = errors.New("is not the JSON of an index")

// object calls f with each key of an object; f takes the value.
func object(d *json.Decoder, f func(key string) error) error {
	if err := delimiter(d, '{'); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return errNotJSON
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return delimiter(d, '}')
}

func delimiter(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != want {
		return errNotJSON
	}
	return nil
}

func chartsJSON(d *json.Decoder, c *collector) error {
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('{') {
		return errNotJSON
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return errNotJSON
		}
		if err := c.begin(name); err != nil {
			return err
		}
		if err := versionsJSON(d, c); err != nil {
			return err
		}
	}
	return delimiter(d, '}')
}

func versionsJSON(d *json.Decoder, c *collector) error {
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return errNotJSON
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		e := &Entry{}
		if err := json.Unmarshal(raw, e); err != nil {
			c.skip(err)
			continue
		}
		if err := c.add(e); err != nil {
			return err
		}
	}
	return delimiter(d, ']')
}

// readWhole parses YAML as a whole.
func readWhole(in io.Reader, c *collector) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var doc struct {
		Head    head                   `yaml:",inline"`
		Entries map[string][]yaml.Node `yaml:"entries"`
	}
	var kind *yaml.TypeError
	switch err := yaml.Unmarshal(data, &doc); {
	case errors.As(err, &kind): // It names types of ours, which tell nobody anything.
		what, _, _ := strings.Cut(kind.Errors[0], " into ")
		return fmt.Errorf("%w: %s", ErrSyntax, what)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	c.head = doc.Head
	for name, versions := range doc.Entries {
		if err := c.begin(name); err != nil {
			return err
		}
		for i := range versions {
			e := &Entry{}
			if err := versions[i].Decode(e); err != nil {
				c.skip(err)
				continue
			}
			if err := c.add(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// head is what an index says of itself.
type head struct {
	ServerInfo  map[string]any    `json:"serverInfo,omitempty" yaml:"serverInfo"`
	APIVersion  string            `json:"apiVersion" yaml:"apiVersion"`
	Generated   moment            `json:"generated" yaml:"generated"`
	PublicKeys  []string          `json:"publicKeys,omitempty" yaml:"publicKeys"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations"`
}

// decode takes one field; only the version of the API matters enough to fail for.
func (h *head) decode(unmarshal func([]byte, any) error, doc []byte) error {
	before := *h
	if err := unmarshal(doc, h); err != nil {
		*h = before
		var kind *yaml.TypeError
		var jsonKind *json.UnmarshalTypeError
		if !errors.As(err, &kind) && !errors.As(err, &jsonKind) {
			return fmt.Errorf("%w: %w", errOdd, err)
		}
	}
	return nil
}

// field implements sink.
func (c *collector) field(text []byte) error { return c.head.decode(yaml.Unmarshal, text) }

// chart implements sink.
func (c *collector) chart(key []byte) error {
	var name string
	if err := yaml.Unmarshal(key, &name); err != nil {
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	return c.begin(name)
}

// entry implements sink.
func (c *collector) entry(text []byte) error {
	e := &Entry{}
	err := yaml.Unmarshal(text, e)
	var kind *yaml.TypeError
	switch {
	case err == nil:
		return c.add(e)
	case errors.As(err, &kind):
		c.skip(err)
		return nil
	}
	return fmt.Errorf("%w: %w", errOdd, err) // an anchor of another entry, or a mistake
}
