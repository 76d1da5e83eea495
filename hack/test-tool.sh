#!/usr/bin/env bash
# test-tool.sh FOLDER: prints the path of the program that the module test/FOLDER names as its tool, a real server or
# client that tests run. It is built once, a minute or two on two cores, and kept outside of the checkout under its version
# and the Go that made it.
set -euo pipefail
cd "$(dirname "$0")/../test/$1"
package=$(go list -f '{{.ImportPath}}' tool)
name=$(go list -f '{{.ImportPath}} {{.Module.Version}}' tool | sed 's#.*/##; s# #-#')
cache="${FLUX_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flux-test-tools}"
bin="$cache/$name-$(go env GOVERSION)"
if [ ! -x "$bin" ]; then
  mkdir -p "$cache"
  echo "building $name for tests (once)" >&2
  CGO_ENABLED=0 GOFLAGS="-trimpath -gcflags=all=-dwarf=false" ../../hack/go build -ldflags '-s -w' -o "$bin.$$" "$package"
  mv "$bin.$$" "$bin"
fi
echo "$bin"
