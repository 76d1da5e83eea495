package install

import (
	"fmt"
	"slices"
	"strings"
)

// choice is a flag with a few possible values.
type choice struct {
	into   *string
	what   string
	values []string
}

// String implements pflag.Value.
func (c choice) String() string {
	if c.into == nil {
		return ""
	}
	return *c.into
}

// Set implements pflag.Value.
func (c choice) Set(text string) error {
	if !slices.Contains(c.values, text) {
		return fmt.Errorf("%s '%s' is not supported, must be one of: %s", c.what, text, strings.Join(c.values, ", "))
	}
	*c.into = text
	return nil
}

// Type implements pflag.Value.
func (c choice) Type() string { return strings.Join(c.values, "|") }
