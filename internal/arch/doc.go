// Package arch holds the rules of the house as tests: which package may import which, that every
// package says what it is for, and that no controller can start a child process.
package arch
