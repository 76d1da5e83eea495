// Package decrypt turns what SOPS encrypted into plaintext, in memory.
//
// # Model
//
// [Keys] are what a Secret says about keys: age identities, OpenPGP keys, logins of key services. A [Decryptor] holds
// the keys of one build. It works on the text of an object ([Decryptor.Object]) and on the content of a file that a
// kustomization names ([Decryptor.File]); what carries no marker of SOPS comes back as it is.
//
// The format is read and written by the SOPS library, so that the plaintext has the same bytes as upstream's: names
// that kustomize hashes stay the same. Keys are used by ourselves: age and OpenPGP in process, without a program, an
// agent, a home directory or a plugin; key services with the login of the Secret, else with the workload identity.
//
// # What is kept from leaking
//
// Nothing is written to disk, and the library's loggers are silent. Errors tell keys, files and paths in a file, never
// a value: the text of the library is not passed on where it may quote one, and [Decryptor.Redact] takes whatever was
// decrypted out of the errors of those who work with it afterwards.
//
// The message authentication code is not verified, as with upstream: kustomize changes objects before they are
// decrypted. Each value is authenticated on its own, with its path.
package decrypt
