#!/usr/bin/env bash
# gofmt, go vet and staticcheck over the main module; gofmt and go vet over the others.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  printf 'not gofmt-ed, run gofmt -w on:\n%s\n' "$unformatted" >&2
  exit 1
fi
go vet ./...
go tool -modfile=hack/tools/go.mod staticcheck ./...
(cd test/servers && go vet ./...)
(cd sandbox && go vet ./...)
echo "lint: clean"
