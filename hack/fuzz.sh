#!/usr/bin/env bash
# Fuzzes parsers of what comes from outside, each target for FUZZTIME.
#
#   hack/fuzz.sh        archives, layers, chart indexes, ignore rules, manifests
#   hack/fuzz.sh all    every target of the module: for nights and before a release
#
# The seeds of all targets run with the ordinary tests.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-1m}
if [ "${1:-}" = all ]; then
  targets=$(grep -rHoE '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' internal | sed -E 's#^(.*)/[^/]+:func #\1 #' | sort)
else
  targets="internal/artifact/unpack FuzzTarGz
internal/artifact/unpack FuzzLayer
internal/artifact/ignore FuzzParse
internal/charts/index FuzzConvert
internal/registry FuzzManifest"
fi
fuzz() {
  hack/go test "./$1" -vet=off -exec "$PWD/hack/plain" -run '^$' -fuzz "^$2\$" -fuzztime "$time" -parallel 2 >"$out" 2>&1 </dev/null
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
while read -r package target; do
  echo "fuzz $package $target for $time"
  fuzz "$package" "$target" && continue
  # Go's fuzzer sometimes trips over its own deadline at the end: that is no finding.
  if ! grep -q 'Failing input written' "$out" && grep -q 'context deadline exceeded' "$out" && fuzz "$package" "$target"; then
    continue
  fi
  cat "$out"
  exit 1
done <<<"$targets"
