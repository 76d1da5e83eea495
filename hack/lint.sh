#!/usr/bin/env bash
# gofmt, and the analysers of go vet and of staticcheck, over every module with code of ours.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  printf 'not gofmt-ed, run gofmt -w on:\n%s\n' "$unformatted" >&2
  exit 1
fi

export FLUX_LINT="$work/lint" FLUX_LINT_IMPORTS
(cd hack/lint && "$root/hack/go" build -o "$FLUX_LINT" .)
analysers() { "$@" 2>&1 | awk '/^Registered analyzers/ { on = 1; next } /^[^ ]/ { on = 0 } on && NF { print $1 }' | sort; }
missing=$(comm -23 <(analysers go tool vet help) <(analysers "$FLUX_LINT" help))
if [ -n "$missing" ]; then
  printf 'hack/lint lacks analysers of go vet: %s\n' "$missing" >&2
  exit 1
fi

vet() {
  local imports='{{join .Imports ","}},{{join .TestImports ","}},{{join .XTestImports ","}}'
  cd "$root/$1"
  FLUX_LINT_IMPORTS=",$(go list -f "$imports" ./... | tr , '\n' | sort -u | paste -sd,),"
  "$root/hack/go" vet -vettool="$root/hack/vettool.sh" ./...
}
for module in . hack/lint test/servers sandbox; do vet $module; done
echo "lint: clean"
