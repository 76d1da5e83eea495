// Package base makes the manifests from which every installation is built: for each controller a
// ServiceAccount, its Services and a Deployment, and for all of them roles and network policies.
//
// What a controller is called and which kinds it serves and reads comes from package controllers;
// how its pod looks stands here, in one table. `make generate` writes the result below
// manifests/install, from where it is embedded into the command line, which therefore does not
// link the controllers. Package install lays the choices of a person over it: namespace, registry,
// version, components.
//
// The objects equal those that upstream releases, because people patch them by index and name.
package base
