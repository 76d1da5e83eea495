package controllers

import "github.com/gitops-toolkit/flux/internal/kernel"

// registerWatcher opens the artifact store of generated artifacts and serves what is in it.
func registerWatcher(m *kernel.Manager, v Values) error {
	_, err := openStore(m, v, "externalartifact")
	return err
}
