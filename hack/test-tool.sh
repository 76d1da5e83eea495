#!/usr/bin/env bash
# Prints the path of a real S3 server (versitygw) for tests, building it once: two minutes on two cores, kept outside of
# the checkout under the version and the Go that made it.
set -euo pipefail
cd "$(dirname "$0")/../test/s3"
version=$(go list -m -f '{{.Version}}' github.com/versity/versitygw)
cache="${FLUX_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flux-test-tools}"
bin="$cache/versitygw-$version-$(go env GOVERSION)"
if [ ! -x "$bin" ]; then
  mkdir -p "$cache"
  echo "building the S3 server for tests (once)" >&2
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin.$$" github.com/versity/versitygw/cmd/versitygw
  mv "$bin.$$" "$bin"
fi
echo "$bin"
