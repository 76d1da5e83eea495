#!/usr/bin/env bash
# make test: lint, then every test of the three modules; those of the main one share a sandbox that is
# started for the run. Set SHORT=1 to skip lint, the check of generated files and the other modules
# while developing; PKG selects packages of the main module.
#
# With cold caches the machine is busy with compiling, with warm ones it waits for clusters. So what has to be there is
# compiled first, and then three things run side by side: the tests of the main module, which one reads as they come;
# those of the other modules; and lint, which takes what processor time the tests leave.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

work=$(mktemp -d)
export FLUX_SANDBOX_HOME="$work/sandbox" FLUX_SANDBOX_GOGC=200
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
  bin/flux-sandbox down --name test >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
step() { printf '# %s (%ds)\n' "$*" "$SECONDS"; }

step "programs"
# What is needed of the standard library in any case is compiled while the modules come.
hack/go build std &
for dir in sandbox hack/tools hack/lint test/s3 test/helm3; do (cd $dir && exec nice go mod download); done >/dev/null 2>&1 &
hack/test-deps.sh
make --no-print-directory flux
step "sandbox and tools"
make --no-print-directory flux-sandbox &
sandbox=$!
FLUX_TEST_S3=$(hack/test-tool.sh s3)
FLUX_TEST_HELM3=$(hack/test-tool.sh helm3)
gotestsum="$work/gotestsum"
hack/go build -modfile=hack/tools/go.mod -o "$gotestsum" gotest.tools/gotestsum
wait "$sandbox"
step "tests are compiled"
hack/go list -export -test -deps ${PKG:-./...} >/dev/null
export FLUX_TEST_S3 FLUX_TEST_HELM3 FLUX_TEST_BIN="$PWD/bin"

# run DIRECTORY PACKAGES FLAGS…: the tests of one module. What fails is run again, at most twice, and
# the report names it: a test that needed a second attempt is a bug to look into. go vet is part of lint, and the linker
# yields to the tests that run already.
run() {
  local dir=$1 packages=$2 status=0 name
  name="$work/module-${1//[.\/]/-}"
  shift 2
  (cd "$dir" && "$root/hack/compiling" "$gotestsum" --format pkgname --hide-summary=skipped \
    --rerun-fails=2 --rerun-fails-max-failures=12 --rerun-fails-report="$name.again" \
    --packages="$packages" -- -count=1 -vet=off -ldflags=-w -toolexec "nice -n 10" -exec "'$root/hack/plain'" "$@") 2>&1 | tee "$name.out" || status=$?
  if [ $status -ne 0 ]; then tail -n 1 "$name.out" >"$name.failed"; fi
  return $status
}

others() {
  local code=0
  export FLUX_SANDBOX_HOME="$work/others"
  run test/servers ./... || code=$?
  run sandbox "./internal/node/... ./internal/state ./internal/pki ./test" || code=$?
  return $code
}

checks() {
  local code=0
  hack/lint.sh || code=$?
  hack/verify-generate.sh || code=$?
  return $code
}

# beside NAME COMMAND…: runs it in the background, in a process group of its own, so that all of it can be ended.
beside() {
  local name=$1
  shift
  set -m
  "$@" >"$work/$name.log" 2>&1 &
  pids+=($!)
  set +m
}
leisurely() {
  renice -n 19 "$BASHPID" >/dev/null
  "$@"
}

if [ -z "${SHORT:-}" ]; then
  beside others others
  beside checks leisurely checks
fi

step "tests"
bin/flux-sandbox up --name test >&2
FLUX_TEST_KUBECONFIG=$(bin/flux-sandbox kubeconfig --name test)
export FLUX_TEST_KUBECONFIG
go run ./hack/kube -kubeconfig "$FLUX_TEST_KUBECONFIG" crds

# More packages at a time than processors, beginning with those that start clusters of their own and mostly wait for them.
slow=() rest=()
for package in $(go list ${PKG:-./...}); do
  case $package in
    */flux/test | */internal/cli/install | */internal/cli/bootstrap | */internal/controllers) slow=("$package" "${slow[@]}") ;;
    *) rest+=("$package") ;;
  esac
done
code=0
run . "${slow[*]} ${rest[*]}" -p "$(($(nproc) + 2))" -timeout 40m ${TESTFLAGS:-} || code=$?
for pid in "${pids[@]}"; do
  wait "$pid" || code=$?
done
if [ -z "${SHORT:-}" ]; then
  step "what ran beside them: the tests of the other modules, lint, generated files"
  cat "$work/others.log" "$work/checks.log"
fi
step "end"
if cat "$work"/*.again 2>/dev/null | grep -q .; then
  echo "not green at the first attempt:"
  cat "$work"/*.again
fi
if ls "$work"/*.failed >/dev/null 2>&1; then cat "$work"/*.failed; else tail -n 1 "$work/module--.out"; fi
exit $code
