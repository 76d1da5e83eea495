#!/usr/bin/env bash
# make test: lint, then every test of the main module against one sandbox started for the run.
# Set SHORT=1 to skip lint and the check of generated files while developing; PKG selects packages.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/test-deps.sh
make --no-print-directory build
if [ -z "${SHORT:-}" ]; then
  hack/lint.sh
  hack/verify-generate.sh
  (cd test/servers && go test ./...)
  (cd sandbox && FLUX_TEST_BIN="$PWD/../bin" go test ./internal/node/... ./internal/state ./internal/pki ./test)
fi

FLUX_SANDBOX_HOME=$(mktemp -d)
export FLUX_SANDBOX_HOME
cleanup() {
  bin/flux-sandbox down --name test >/dev/null 2>&1 || true
  rm -rf "$FLUX_SANDBOX_HOME"
}
trap cleanup EXIT
bin/flux-sandbox up --name test >&2
FLUX_TEST_KUBECONFIG=$(bin/flux-sandbox kubeconfig --name test)
export FLUX_TEST_KUBECONFIG FLUX_TEST_BIN="$PWD/bin"
go run ./hack/kube -kubeconfig "$FLUX_TEST_KUBECONFIG" crds

# One package at a time: several start sandboxes of their own, and two cores are soon too few for
# their patience. What fails is run again, at most twice, and the report names it: a test that
# needed a second attempt is a bug to look into. The runner's own summary is the last line.
report=$(mktemp)
code=0
go tool -modfile=hack/tools/go.mod gotestsum --format pkgname --hide-summary=skipped \
  --rerun-fails=2 --rerun-fails-max-failures=12 --rerun-fails-report="$report" --packages="${PKG:-./...}" \
  -- -p 1 -count=1 -timeout 40m ${TESTFLAGS:-} 2>&1 | tee "$report.out" || code=$?
if [ -s "$report" ]; then
  echo "not green at the first attempt:"
  cat "$report"
  tail -n 1 "$report.out"
fi
rm -f "$report" "$report.out"
exit $code
