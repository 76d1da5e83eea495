// Package artifact names what flows between controllers: an archive of files, made from one
// revision of a source, offered at a URL and verified by its digest.
//
// The package itself holds the plain values only. Each room below it does one thing:
//
//   - ignore decides which files of a tree are left out;
//   - archive turns a tree (a directory, a Git tree) into a reproducible tar.gz whose cost follows
//     the change, because compressed members are cached and spliced;
//   - store keeps archives on disk, content-addressed, under the names that consumers know;
//   - serve offers a store over HTTP;
//   - fetch downloads an archive and verifies it on the way;
//   - unpack takes a hostile archive apart inside one directory;
//   - cache does the last two once per digest for the whole process.
//
// Nothing here knows of custom resources: controllers translate status.artifact to a Ref.
package artifact
