// Package test holds the scenarios across controllers: what a person does, and what the cluster
// answers. Read them to learn the product. They run against the sandbox that make started, with
// our controllers as processes beside it and a real Git server; each test has a namespace and a
// repository of its own, so that all run in parallel.
package test
