#!/usr/bin/env bash
# Build flux-sandbox once per machine and link it to bin/flux-sandbox.
#
# The sandbox links Kubernetes itself, which takes minutes from cold, so the
# binary is kept outside the checkout under a key made of everything that goes
# into it: the sources of sandbox/ and test/servers/, the Go version, the
# platform and this script.
set -euo pipefail
# Compiled as everything else is: two thirds of the packages of client-go, gRPC and OpenTelemetry are in
# the build cache already when sandbox/go.mod names the same versions as go.mod (internal/arch checks it).
export CGO_ENABLED=0 GOFLAGS="-trimpath -gcflags=all=-dwarf=false"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/bin/flux-sandbox}
kubernetes=1.37.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/flux-sandbox/bin

sources() {
  cd "$root"
  find sandbox test/servers -type f \( -name '*.go' -o -name go.mod -o -name go.sum \) ! -name '*_test.go' -print0
  printf '%s\0' hack/sandbox-build.sh
}

key() {
  {
    (cd "$root/sandbox" && go env GOVERSION GOOS GOARCH CGO_ENABLED)
    sources | LC_ALL=C sort -z | (cd "$root" && xargs -0 sha256sum)
  } | sha256sum | cut -c1-16
}

# The version that Kubernetes reports comes from the linker, as in its own build.
linker_flags() {
  local flags="-s -w" package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$kubernetes -X $package.gitMajor=${kubernetes%%.*}"
    flags+=" -X $package.gitMinor=$(cut -d. -f2 <<<"$kubernetes") -X $package.gitTreeState=clean -X $package.gitCommit="
  done
  echo "$flags"
}

build() {
  echo "building flux-sandbox (Kubernetes $kubernetes; some minutes the first time, then kept in $cache)" >&2
  local fresh status=0
  fresh=$(mktemp -d "$cache/.build-XXXXXX")
  # Descriptor 9 is the lock: nobody but us may keep it open.
  (while sleep 30; do echo "… still compiling flux-sandbox (${SECONDS}s)" >&2; done) 9>&- &
  local heartbeat=$!
  (cd "$root/sandbox" && "$root/hack/go" build -ldflags "$(linker_flags)" -o "$fresh/flux-sandbox" ./cmd/flux-sandbox) 9>&- || status=$?
  kill "$heartbeat" 2>/dev/null || true
  wait "$heartbeat" 2>/dev/null || true
  if [ "$status" -eq 0 ]; then
    mv -T "$fresh" "$cache/$1" 2>/dev/null || true
    echo "built flux-sandbox in ${SECONDS}s" >&2
  fi
  rm -rf "$fresh"
  return "$status"
}

main() {
  mkdir -p "$cache" "$(dirname "$out")"
  local hash
  hash=$(key)
  if [ ! -x "$cache/$hash/flux-sandbox" ]; then
    # One build at a time on a machine: a second one waits and finds the result.
    exec 9>"$cache/.lock"
    if command -v flock >/dev/null; then flock 9; fi
    if [ ! -x "$cache/$hash/flux-sandbox" ]; then build "$hash"; fi
    exec 9>&-
  fi
  touch "$cache/$hash"
  # What a killed build left goes after hours; older builds go, but for the four used last: other checkouts may need them.
  find "$cache" -mindepth 1 -maxdepth 1 -name '.build-*' -mmin +180 -exec rm -rf {} +
  find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name '.*' -printf '%T@ %p\n' | sort -rn | tail -n +6 | cut -d' ' -f2- | xargs -r rm -rf
  ln -f "$cache/$hash/flux-sandbox" "$out" 2>/dev/null || cp -f "$cache/$hash/flux-sandbox" "$out"
}

main
