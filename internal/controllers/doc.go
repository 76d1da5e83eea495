// Package controllers describes every controller of the system, in one flat slice: its flags
// with their defaults, its feature gates, the kinds that it serves and what it may do in the
// cluster. The program, the install manifests and the documentation come from this description.
//
// One binary is all controllers. Started under a controller's name it is that controller and
// takes exactly its flags. Under its own name, --controllers chooses some or all of them, which
// then share one process and one cache; a flag may then carry the controller's short name as a
// prefix (--source.concurrent) to mean that controller only, and without one means all of them.
package controllers
