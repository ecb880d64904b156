# SPDX-License-Identifier: GPL-2.0 OR MIT
# Shared by the scripts that ask Debian for packages.
# shellcheck shell=bash

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The mirror that this machine's own apt uses for Debian itself.
debian_mirror() {
	local uri
	uri=$(apt-get indextargets --format '$(ORIGIN) $(SITE) $(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" && $NF !~ /-/ { print $3; exit }')
	[ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		grep -E '/debian/?$' | head -n 1) || true
	[ -n "$uri" ] || die "no Debian mirror in this machine's apt sources; run 'apt-get update', or give KSRC=/path/to/linux"
	printf '%s\n' "$uri"
}

# apt with lists, cache and sources of its own, so that another suite's, or another architecture's,
# packages can be read without changing this machine.
# usage: apt_suite SUITE[:ARCHITECTURE] apt-get|apt-cache ARGS...
apt_suite() {
	local root=$LOCKMAP_CACHE/apt/$1 suite=${1%:*} arch=() tool=$2
	[ "$1" = "$suite" ] || arch=(-o "APT::Architecture=${1#*:}")
	shift 2
	if [ ! -s "$root/sources.list" ]; then
		local key=/usr/share/keyrings/debian-archive-keyring.gpg uri
		[ -r "$key" ] || die "missing $key: apt-get install debian-archive-keyring"
		uri=$(debian_mirror)
		mkdir -p "$root"/{lists/partial,cache/archives/partial,etc}
		case $suite in
		*-security) uri=${uri%/}-security ;;
		esac
		echo "deb [signed-by=$key] $uri $suite main" >"$root/sources.list"
	fi
	"$tool" -q -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$root/lists" -o Dir::Cache="$root/cache" -o APT::Sandbox::User=root \
		-o Acquire::Languages=none "${arch[@]}" "$@"
}

# Fetch a suite's package list unless that was done within the last day.
refresh_suite() {
	local stamp=$LOCKMAP_CACHE/apt/$1/stamp log=$LOCKMAP_CACHE/apt/$1.log
	mkdir -p "${log%/*}"
	(
		flock 8 # another may be reading it
		[ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] || exit 0
		say "reading the package list of $1"
		apt_suite "$1" apt-get update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
		touch "$stamp"
	) 8>"$LOCKMAP_CACHE/apt/$1.lock"
}
