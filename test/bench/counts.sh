#!/bin/bash
# What a message costs, in counts that do not depend on how busy the machine is.
# METHODOLOGY.md, "Counts", explains them.
#
#	PG_CONFIG     the PostgreSQL to run (default the newest one installed)

set -euo pipefail

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$bench_dir/../lib.sh"
. "$bench_dir/counts_lib.sh"

"$bench_dir/../setup.sh" counts
prepare_server
print_counts
