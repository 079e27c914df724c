#!/usr/bin/env bash
# Set-up, then every test. The last line is always "N passed, N failed", also where the set-up fails.
set -uo pipefail
cd "$(dirname "$0")/.."
if ! tools/setup.sh; then
    echo "set-up failed" >&2
    printf '0 skipped\n0 passed, 1 failed\n'
    exit 1
fi
exec tools/run_tests.py "$@"
