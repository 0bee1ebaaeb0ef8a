#!/usr/bin/env bash
#
# Send random statements of several roles to a private server, and look for
# crashes, internal errors, foreign memory, and disturbance of others.
#
#   test/fuzz/run.sh
#
#   FUZZ_SECONDS    how long (60)
#   FUZZ_SEED       which statements (random; printed)
#   FUZZ_SESSIONS   how many at a time (8)
#
# The exit status is 0 if there was no fault. Otherwise the statements of each
# session and the server's log are left in test-output/fuzz.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$top/test/setup.sh" test && libpq_folders && prepare_server || exit
fuzz && exit

mkdir -p "$top/test-output/fuzz"
# shellcheck disable=SC2046
cp -r $(fuzz_output) "$top/test-output/fuzz/"
echo "statements and the server's log: $top/test-output/fuzz"
exit 1
