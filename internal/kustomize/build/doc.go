// Package build turns a directory of manifests into Kubernetes objects: it completes or generates the
// kustomization.yaml, runs kustomize, and renders, substitutes and parses the result.
//
// # Model
//
// A build sees nothing but one artifact: a read-only directory that is opened as an [os.Root] and appears under a
// fixed mount point ([DefaultMount]). The edited or generated kustomization.yaml lives in memory, laid over that
// directory, so that an unpacked artifact can be shared by any number of builds. A path that leaves the artifact,
// by "..", as an absolute path or through a link, is refused with its name.
//
// Every read is recorded, misses included ([Inputs]). When none of them would be answered differently by another
// artifact, the build of that artifact has the same result and need not run.
//
// # Large directories
//
// kustomize takes more than twice the time for twice the objects. Where a kustomization, generated or not, does nothing but
// name manifests, no object but those of a few kinds depends on another, so it is built in groups; and what the files of
// the build before gave is taken from a [Memo], by the digest of each file. A test compares both with kustomize's own
// result for random sets. Whatever is odd is left to one build of the whole.
//
// # Limits
//
// kustomize can neither be cancelled nor bounded from outside, but it reads everything through our file system:
// there a deadline, the number of reads, the size of one file and of all of them, YAML aliases and nesting are
// limited ([Limits]). Panics become errors.
//
// # Concurrency
//
// Builds run in parallel. kustomize keeps its OpenAPI schema in global variables; builds only read them, except
// one whose kustomization names a schema of its own: that one runs alone and puts the default schema back.
//
// # Encrypted files
//
// A [Decryptor] decrypts the files of secret generators and patches when kustomize reads them, so that names get the
// hash of the plaintext, and each rendered object. The plaintext is never on disk; errors are cleared of it.
//
// # Remote bases
//
// kustomize would fetch a remote base with a git child process, and a remote file without limits. Neither ever
// happens here: references that lead to a network are found before kustomize sees them. They are refused, unless
// the caller brings a [Remote] that fetches them; then kustomize reads the fetched copy as a local directory.
// A build that read something remote is never skipped, since nobody can tell whether the remote changed.
package build
