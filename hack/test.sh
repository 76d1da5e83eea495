#!/usr/bin/env bash
# make test: lint, then every test of the three modules; those of the main one share a sandbox that is
# started for the run. Set SHORT=1 to skip lint, the check of generated files and the other modules
# while developing; PKG selects packages of the main module.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/test-deps.sh
make --no-print-directory build

work=$(mktemp -d)
export FLUX_SANDBOX_HOME="$work/sandbox"
cleanup() {
  bin/flux-sandbox down --name test >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

# run DIRECTORY PACKAGES FLAGS…: the tests of one module. What fails is run again, at most twice, and
# the report names it: a test that needed a second attempt is a bug to look into.
tools=$PWD/hack/tools/go.mod
run() {
  local dir=$1 packages=$2 status=0
  shift 2
  rm -f "$work/part"
  (cd "$dir" && go tool -modfile="$tools" gotestsum --format pkgname --hide-summary=skipped \
    --rerun-fails=2 --rerun-fails-max-failures=12 --rerun-fails-report="$work/part" \
    --packages="$packages" -- -count=1 "$@") 2>&1 | tee "$work/out" || status=$?
  cat "$work/part" >>"$work/again" 2>/dev/null || true
  if [ $status -ne 0 ]; then tail -n 1 "$work/out" >"$work/failed"; fi
  return $status
}

code=0
if [ -z "${SHORT:-}" ]; then
  hack/lint.sh
  hack/verify-generate.sh
  run test/servers ./... || code=$?
  FLUX_TEST_BIN="$PWD/bin" run sandbox "./internal/node/... ./internal/state ./internal/pki ./test" || code=$?
fi

bin/flux-sandbox up --name test >&2
FLUX_TEST_KUBECONFIG=$(bin/flux-sandbox kubeconfig --name test)
export FLUX_TEST_KUBECONFIG FLUX_TEST_BIN="$PWD/bin"
go run ./hack/kube -kubeconfig "$FLUX_TEST_KUBECONFIG" crds

FLUX_TEST_S3=$(hack/test-tool.sh s3)
FLUX_TEST_HELM3=$(hack/test-tool.sh helm3)
export FLUX_TEST_S3 FLUX_TEST_HELM3

# Two packages at a time, beginning with those that start clusters of their own and mostly wait for them.
slow=() rest=()
for package in $(go list ${PKG:-./...}); do
  case $package in
    */flux/test | */internal/cli/install | */internal/cli/bootstrap | */internal/controllers) slow=("$package" "${slow[@]}") ;;
    *) rest+=("$package") ;;
  esac
done
run . "${slow[*]} ${rest[*]}" -p 2 -timeout 40m ${TESTFLAGS:-} || code=$?
if [ -z "${SHORT:-}" ]; then
  hack/fuzz.sh || code=$?
fi
if [ -s "$work/again" ]; then
  echo "not green at the first attempt:"
  cat "$work/again"
fi
if [ -s "$work/failed" ]; then cat "$work/failed"; else tail -n 1 "$work/out"; fi
exit $code
