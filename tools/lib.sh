# SPDX-License-Identifier: GPL-2.0 OR MIT
# Shared by all scripts here: where things are kept, how they talk, how they check.
# shellcheck shell=bash

LOCKMAP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOCKMAP_CACHE=${LOCKMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockmap}
# What is made of these sources; another copy of the project has another place.
LOCKMAP_WORK=$LOCKMAP_CACHE/built/$(basename "$LOCKMAP_TOP")-$(printf %s "$LOCKMAP_TOP" | sha256sum | cut -c1-8)
mkdir -p "$LOCKMAP_WORK"
# shellcheck disable=SC2034 # for the scripts
JOBS=$(nproc)
# What is built here is none of the business of a make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH KDIR

say() { printf '[%s] %s\n' "$(date +%T)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Wait for a background process, show meanwhile that it lives, and return its exit code.
# usage: wait_for WHAT LOG PID
wait_for() {
	local start=$SECONDS next=15
	while kill -0 "$3" 2>/dev/null; do
		sleep 0.1
		if (( SECONDS - start >= next )); then
			say "$1: $((SECONDS - start)) s so far ($(wc -l <"$2") lines of log)"
			next=$((next + 15))
		fi
	done
	wait "$3"
}

# Run a long command with its output in a log; show that it lives; on failure show the log's end.
# usage: quietly WHAT LOG COMMAND...
quietly() {
	local what=$1 log=$2
	shift 2
	"$@" >"$log" 2>&1 </dev/null &
	if ! wait_for "$what" "$log" $!; then
		tail -n 30 "$log" >&2
		die "$what failed; the whole log is in $log"
	fi
}

# One of a kind at a time, until this script ends.
lock() {
	local start=$SECONDS
	exec 9>"$LOCKMAP_CACHE/$1.lock"
	until flock -w 30 9; do
		say "waiting for another ${0##*/} $1 to end: $((SECONDS - start)) s so far"
	done
}

# What only checks prints TAP, the Test Anything Protocol: a line "ok - WHAT" or "not ok - WHAT" for each check, and at
# the end how many there were. tools/tap runs it and prints "N passed, N failed".
checks=0

# First thing in such a script: hand it to tools/tap, unless that has called it.
# usage: under_tap "$@"
under_tap() {
	[ -n "${LOCKMAP_TAP:-}" ] || exec "$LOCKMAP_TOP/tools/tap" "$0" :: "$@"
	unset LOCKMAP_TAP
}

# usage: result STATUS WHAT...; STATUS 0 is good
result() {
	local status=$1
	shift
	checks=$((checks + 1))
	[ "$status" -eq 0 ] || printf 'not '
	printf 'ok - %s\n' "$*"
}

# Count the checks in TAP of another program, which has been printed.
# usage: count_results FILE
count_results() { checks=$((checks + $(grep -cE '^(not )?ok ' "$1"))) || true; }

# Run a command as a check, and show what it said if it fails; its exit code is $status then.
# usage: check WHAT COMMAND...
check() {
	local what=$1 log=$LOCKMAP_WORK/${0##*/}-check.log start=$SECONDS
	shift
	status=0
	(set -e; "$@") >"$log" 2>&1 </dev/null 9>&- &
	wait_for "$what" "$log" $! || status=$?
	[ $status -eq 0 ] || tail -n 100 "$log" | sed 's/^/    /'
	[ $((SECONDS - start)) -lt 5 ] || what+=" ($((SECONDS - start)) s)"
	result $status "$what"
}

# Last thing in such a script.
conclude() { echo "1..$checks"; }

# Copy the sources, with nothing that was built of them. Not only what is committed.
# usage: copy_sources DIR
copy_sources() {
	rm -rf "$1"
	mkdir -p "$1"
	tar -C "$LOCKMAP_TOP" -c --exclude-vcs --exclude-vcs-ignores --exclude=bench/out . | tar -C "$1" -x
}
