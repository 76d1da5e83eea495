#!/usr/bin/env bash
# Prints the budgets of the design beside what we measure; arguments go to the program (-run, -n).
set -euo pipefail
cd "$(dirname "$0")/.."
exec go run ./bench ${BENCHFLAGS:-} "$@"
