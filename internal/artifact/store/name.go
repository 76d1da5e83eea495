package store

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Name says where an artifact is stored.
type Name struct {
	// Kind of the object in lower case, such as gitrepository.
	Kind string
	// Namespace and Name of the object.
	Namespace, Name string
	// File is the name of the artifact, such as <commit>.tar.gz.
	File string
}

// Dir is the directory of the object, relative to the root of the store.
func (n Name) Dir() string {
	return path.Join(n.Kind, n.Namespace, n.Name)
}

// Path is the path of the artifact, relative to the root of the store.
func (n Name) Path() string {
	return path.Join(n.Dir(), n.File)
}

func (n Name) validate() error {
	if !validObject([]string{n.Kind, n.Namespace, n.Name}) || !validFile(n.File) {
		return fmt.Errorf("%w: %q", ErrName, n.Kind+"/"+n.Namespace+"/"+n.Name+"/"+n.File)
	}
	return nil
}

// parsePath returns the name that a path in the store stands for.
func parsePath(p string) (Name, error) {
	parts := strings.Split(p, "/")
	if len(parts) != 4 {
		return Name{}, fmt.Errorf("%w: %q must be <kind>/<namespace>/<name>/<file>", ErrName, p)
	}
	n := Name{parts[0], parts[1], parts[2], parts[3]}
	return n, n.validate()
}

func validObject(parts []string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !validElement(p) })
}

// validElement reports whether p may be an element of a path: nothing hidden, and so nothing of
// the store's own.
func validElement(p string) bool {
	return p != "" && len(p) <= 253 && p[0] != '.' && !strings.ContainsAny(p, "/\\\x00")
}

// validFile also keeps out the lock files that upstream leaves beside its artifacts.
func validFile(name string) bool {
	return validElement(name) && !strings.HasSuffix(name, lockSuffix)
}

const lockSuffix = ".lock"
