#!/usr/bin/env bash
# Makes what is derived from the API types: deepcopy functions, custom resource definitions and
# the tables of the reference pages.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

controller_gen() { go tool -modfile=hack/tools/go.mod controller-gen "$@"; }

controller_gen object crd paths=./api/... output:crd:dir="$out"
go run ./hack/crdgen -in "$out" -api api -out manifests/crds -docs docs/kinds
go run ./hack/manifests -out manifests/install
go run ./hack/monitoring -out manifests/monitoring
