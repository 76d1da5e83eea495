#!/usr/bin/env bash
# The -vettool of hack/lint.sh. go vet runs it for each of the thousands of packages that ours depend on, to learn which of
# their functions print or never return. It writes down that nothing is known of them, but for those that ours import
# themselves, and leaves these and ours to FLUX_LINT, the program of hack/lint.
# FLUX_LINT_IMPORTS is what our packages import, between commas.
set -euo pipefail
last=${!#}
if [[ $last == -V=full ]]; then
  # What go vet found stays valid as long as this line stays the same.
  printf '%s%s\n' "$("$FLUX_LINT" -V=full)" "$(sha256sum <<<"$FLUX_LINT_IMPORTS" | cut -c1-16)"
  exit
fi
if [[ $last == *.cfg ]]; then
  unit=$(<"$last")
  if [[ $unit == *'"VetxOnly": true'* ]]; then
    [[ $unit =~ \"ImportPath\":\ \"([^\"]*)\" ]]
    if [[ $FLUX_LINT_IMPORTS != *",${BASH_REMATCH[1]},"* ]]; then
      [[ $unit =~ \"VetxOutput\":\ \"([^\"]*)\" ]]
      : >"${BASH_REMATCH[1]}"
      exit
    fi
  fi
fi
exec "$FLUX_LINT" "$@"
