#!/usr/bin/env bash
# Prints the budgets of the design beside what we measure; arguments go to the program (-run, -n).
set -euo pipefail
cd "$(dirname "$0")/.."
# Not go run, which dies of a SIGTERM and leaves the program and its sandbox behind.
go build -o bin/bench ./bench
FLUX_TEST_S3=${FLUX_TEST_S3:-$(hack/test-tool.sh s3)}
export FLUX_TEST_S3
exec bin/bench ${BENCHFLAGS:-} "$@"
