#!/usr/bin/env bash
# Writes docs/cli/*.md from the tree of commands.
set -euo pipefail
cd "$(dirname "$0")/.."
FLUXCD_PLUGINS=/nonexistent go run ./cmd/flux docgen --path docs/cli
