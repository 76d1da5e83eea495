// Package install turns the embedded manifests into an installation, and takes one away again.
//
// Build lays a person's choices (namespace, registry, components, topology, rights) over the base
// manifests that package base has generated, and returns the objects in the order in which they
// are exported. Write prints them; Apply brings them to a cluster and removes what an earlier
// installation with another topology or other rights has left. The same objects serve
// `flux install`, its --export and bootstrap.
//
// The base may also come from a directory or from the archive of another release: Manifests finds
// it. It has the layout of package manifests: crds/*.yaml and install/*.yaml.
package install
