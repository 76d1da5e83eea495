#!/usr/bin/env bash
# Generates into a copy of the tree and compares, so that a dirty checkout stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -co --exclude-standard -z | tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$copy"
(cd "$copy" && git init -q && git add -A && git -c user.name=ci -c user.email=ci@localhost commit -qm copy &&
  hack/generate.sh && hack/generate-cli.sh) >&2
if [ -n "$(cd "$copy" && git status --porcelain)" ]; then
  (cd "$copy" && git status --short && git diff --stat) >&2
  echo 'generated files are stale: run `make generate` and commit' >&2
  exit 1
fi
echo "generate: up to date"
