#!/usr/bin/env bash
# gofmt, go vet and staticcheck over the main module; gofmt and go vet over the others.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  printf 'not gofmt-ed, run gofmt -w on:\n%s\n' "$unformatted" >&2
  exit 1
fi
hack/go vet ./...
hack/go tool -modfile=hack/tools/go.mod staticcheck ./...
(cd test/servers && ../../hack/go vet ./...)
(cd sandbox && ../hack/go vet -vettool="$PWD/../hack/vet-own.sh" ./...)
echo "lint: clean"
