# shellcheck shell=bash
#
# Shell functions shared by the tests, the demo and the benchmark: a private
# copy of the server with the extension in it, and throw-away clusters.
#
# Sourced, by bash. The caller has called test/setup.sh.
#
#   prepare_server   makes $work and everything in it (below), builds, installs
#   start_cluster NAME [SETTING...]   initdb and start; sets PGHOST and PGPORT
#   as_user COMMAND...   runs it as the user that owns $work
#
# The system's installation is never written to. PostgreSQL finds its libraries
# and extensions relative to its own binary, so a copy of its folders is a
# whole server:
#
#   $work/install/...   the copy, with the extension installed into it
#   $work/source        a copy of this source tree, where it is built and tested
#   $work/NAME          a cluster's data, its log beside it (NAME.log)
#   $work/socket        the clusters' sockets
#
# Servers refuse to run as root: then $work belongs to "postgres", which runs
# everything in it. It is removed at exit, unless KEEP_WORK is set.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Run a command as the owner of $work.
as_user()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# The pg_config of the server to use: $PG_CONFIG, else the newest one that has
# both a server and its development files.
find_pg_config()
{
	local candidate

	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG"
		return
	fi
	for candidate in $(find /usr/lib/postgresql -path '*/bin/pg_config' \
		2>/dev/null | sort -t/ -k5 -n -r)
	do
		if [ -x "${candidate%/*}/postgres" ] &&
			[ -f "$("$candidate" --includedir-server)/postgres.h" ]
		then
			echo "$candidate"
			return
		fi
	done
	command -v pg_config
}

# The longest folder that all the arguments lie in, with a slash at its end.
common_folder()
{
	local folder=$1/ path

	for path in "$@"; do
		while [ "${path#"$folder"}" = "$path" ]; do
			folder=${folder%/}
			folder=${folder%/*}/
		done
	done
	echo "$folder"
}

# Copy the server's folders below $work/install, in the places relative to each
# other that the server was built for, and put its bin folder first in PATH.
copy_server()
{
	local config root bin lib share include folder

	config=$(find_pg_config)
	bin=$("$config" --bindir)
	lib=$("$config" --pkglibdir)
	share=$("$config" --sharedir)
	include=$("$config" --pkgincludedir)
	root=$(common_folder "$bin" "$lib" "$share" "$include")
	for folder in "$bin" "$lib" "$share"; do
		mkdir -p "$work/install/${folder#"$root"}"
		cp -a "$folder/." "$work/install/${folder#"$root"}"
	done
	mkdir -p "$work/install/$(dirname "${include#"$root"}")"
	ln -s "$include" "$work/install/${include#"$root"}"
	PG_CONFIG=$work/install/${bin#"$root"}/pg_config
	export PG_CONFIG
	PATH=$work/install/${bin#"$root"}:$PATH:/usr/sbin
}

# Copy the source tree, without anything built, to $work/source; nor the data of a
# server that a test of "make installcheck" may be running in tmp_check.
copy_source()
{
	mkdir "$work/source"
	tar -C "$top" -cf - --exclude=./.git --exclude=./test-output --exclude=./tmp_check \
		--exclude='*.o' --exclude='*.bc' --exclude='*.so' . |
		tar -C "$work/source" -xf -
}

# make, in the copied source, against the copied server. The bitcode for inlining
# is left out: nothing calls for it, and it would double the time.
make_copy()
{
	as_user make -s -C "$work/source" \
		--no-print-directory PG_CONFIG="$PG_CONFIG" with_llvm=no "$@"
}

# Make $work, the private server and the build in it.
# Fails when the build fails; the compiler has told why.
prepare_server()
{
	unset MAKEFLAGS MAKELEVEL MFLAGS PGHOST PGPORT PGDATABASE PGUSER PGOPTIONS
	work=$(mktemp -d "${TMPDIR:-/tmp}/queue.XXXXXX")
	trap remove_work EXIT
	trap 'exit 130' INT TERM HUP
	cd "$work" || return
	mkdir socket
	copy_server && copy_source || return
	if [ "$(id -u)" = 0 ]; then
		chown -hR postgres: "$work"
	fi
	chmod 755 "$work"
	export HOME=$work LC_ALL=C.UTF-8
	make_copy -j2 all && make_copy install
}

# Settings of every throw-away cluster. Nothing here outlives the machine's next
# reboot, so the tests do without fsync; "make bench" overrides that.
cluster_settings()
{
	cat <<-END
		listen_addresses = ''
		unix_socket_directories = '$work/socket'
		fsync = off
		wal_level = logical
		max_prepared_transactions = 10
		max_worker_processes = 16
		max_connections = 100
		queue.autocommit_warning = off
		log_line_prefix = '%m [%p] %q%a '
	END
}

# start_cluster NAME [SETTING...]: a SETTING is a line of postgresql.conf.
# Sets PGHOST, PGPORT and PGUSER, so that clients called next find it.
start_cluster()
{
	local name=$1
	shift

	as_user initdb -D "$work/$name" -U postgres -A trust -N \
		--no-locale -E UTF8 >"$work/$name.initdb" || return
	{
		cluster_settings
		printf '%s\n' "$@"
	} >>"$work/$name/postgresql.conf"
	as_user pg_ctl -D "$work/$name" -l "$work/$name.log" -w -s start || {
		tail -n 50 "$work/$name.log"
		return 1
	}
	export PGHOST=$work/socket PGPORT=5432 PGUSER=postgres
}

# Stop every server whose data lies in $work, whichever script started it, and wait
# for its end.
stop_servers()
{
	local file

	while read -r file; do
		as_user pg_ctl -D "${file%/postmaster.pid}" -m immediate -w -s stop
	done < <(find "$work" -name postmaster.pid 2>/dev/null)
}

# At exit. A second signal must not cut this short. What runs in the background
# ends first.
remove_work()
{
	local job

	trap '' INT TERM HUP
	for job in $(builtin jobs -p); do
		kill "$job" 2>/dev/null && wait "$job"
	done
	stop_servers
	cd /
	if [ -n "${KEEP_WORK:-}" ]; then
		echo "kept: $work"
	else
		rm -rf "$work"
	fi
}
