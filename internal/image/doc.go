// Package image is image automation: a new tag in a registry becomes a commit.
//
// Its parts are the controllers repository (tags of an image), policy (the latest of them) and update (commits), and the
// libraries that they share: access and gitremote build the ways to registries and Git servers, tags keeps what scans
// find, selection picks the latest, setters changes values in YAML, edits plans over a commit, message renders
// templates. Nothing is in this package but the tests of all of them together.
package image
