#!/usr/bin/env bash
#
# Install what the tests, the demo or the benchmark need and this machine lacks.
#
#   test/setup.sh [test | demo | bench | counts]
#
# When everything is there it changes nothing and needs no rights. Otherwise it
# uses apt-get, as root or through sudo.
#
# PG_CONFIG, when set, names the server to use; then none is installed.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
purpose=${1:-test}
wanted=()

want()
{
	wanted+=("$@")
}

# The newest installed server's major version, or nothing.
installed_major()
{
	find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null |
		cut -d/ -f5 | sort -n | tail -n 1 || true
}

# The major version that the distribution's package "postgresql" stands for.
packaged_major()
{
	apt-cache depends postgresql |
		sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1
}

compiler_works()
{
	echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1
}

has_module()
{
	perl -M"$1" -e 1 2>/dev/null
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "missing packages: ${wanted[*]}; install them, or run as root" >&2
		exit 1
	fi
}

find_missing()
{
	local major=$1

	wanted=()
	command -v make >/dev/null || want make
	compiler_works || want gcc libc6-dev
	if [ -z "${PG_CONFIG:-}" ]; then
		[ -x "/usr/lib/postgresql/$major/bin/postgres" ] ||
			want "postgresql${major:+-$major}"
		# the package of the headers; pgxs.mk comes with the client's already
		[ -f "/usr/include/postgresql/$major/server/postgres.h" ] ||
			want "postgresql-server-dev-${major:-all}"
	fi
	if [ "$purpose" = test ]; then
		has_module Test::More || want perl
		has_module IPC::Run || want libipc-run-perl
		PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || want pgbouncer
	fi
	# the tests count instructions where there are figures to compare with
	if [ "$purpose" = counts ] || { [ "$purpose" = test ] && [ -n "$major" ] &&
		grep -q "^$major " "$here/bench/counts.txt"; }
	then
		command -v valgrind >/dev/null || want valgrind
	fi
	if [ "$purpose" = counts ]; then
		command -v strace >/dev/null || want strace
	fi
}

major=$(installed_major)
find_missing "$major"
[ ${#wanted[@]} = 0 ] && exit 0

as_root apt-get -qq update
if [ -z "$major" ]; then
	major=$(packaged_major)
	find_missing "$major"
fi
echo "installing: ${wanted[*]}"
log=$(mktemp)
if ! as_root env DEBIAN_FRONTEND=noninteractive \
	apt-get -qq install -y --no-install-recommends "${wanted[@]}" >"$log" 2>&1
then
	cat "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
