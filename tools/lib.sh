# SPDX-License-Identifier: GPL-2.0 OR MIT
# Shared by the scripts in this folder: where things are kept, how they talk, how they ask apt.
# shellcheck shell=bash

LOCKMAP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOCKMAP_CACHE=${LOCKMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockmap}
# What is made of these sources; another copy of the project has another place.
LOCKMAP_WORK=$LOCKMAP_CACHE/built/$(basename "$LOCKMAP_TOP")-$(printf %s "$LOCKMAP_TOP" | sha256sum | cut -c1-8)
mkdir -p "$LOCKMAP_WORK"
JOBS=$(nproc)
# What is built here is none of the business of a make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH KDIR

say() { printf '[%s] %s\n' "$(date +%T)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Run a long command with its output in a log; show that it lives; on failure show the log's end.
# usage: quietly WHAT LOG COMMAND...
quietly() {
	local what=$1 log=$2 start=$SECONDS pid next=15
	shift 2
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if (( SECONDS - start >= next )); then
			say "$what: $((SECONDS - start)) s so far ($(wc -l <"$log") lines of log)"
			next=$((next + 15))
		fi
	done
	if ! wait "$pid"; then
		tail -n 30 "$log" >&2
		die "$what failed; the whole log is in $log"
	fi
}

# One of a kind at a time, until this script ends.
lock() {
	exec 9>"$LOCKMAP_CACHE/$1.lock"
	flock -n 9 && return
	say "waiting for another ${0##*/} $1 to end"
	flock 9
}

# Checks are counted, and what is printed of them looks alike.
passed=0 failed=0 skipped=0

# usage: result STATUS WHAT...; STATUS 0 is good
result() {
	local status=$1
	shift
	if [ "$status" -eq 0 ]; then
		passed=$((passed + 1))
		echo "[PASSED] $*"
	else
		failed=$((failed + 1))
		echo "[FAILED] $*"
	fi
}

# Run a command as a check, and show what it said if it fails.
# usage: check WHAT COMMAND...
check() {
	local what=$1 log=$LOCKMAP_WORK/${0##*/}-check.log status
	shift
	set +e
	(set -e; "$@") >"$log" 2>&1 </dev/null 9>&-
	status=$?
	set -e
	[ $status -eq 0 ] || tail -n 100 "$log" | sed 's/^/    /'
	result $status "$what"
}

# The last line of a script that checks, and how it ends.
conclude() {
	echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
	[ "$failed" -eq 0 ]
}

# Copy the sources, with nothing that was built of them. Not only what is committed.
# usage: copy_sources DIR
copy_sources() {
	rm -rf "$1"
	mkdir -p "$1"
	tar -C "$LOCKMAP_TOP" -c --exclude-vcs --exclude-vcs-ignores --exclude=bench/out . | tar -C "$1" -x
}

# Build a kernel from parts in tools/config, over tinyconfig, and print its build folder.
# usage: build_kernel NAME "PART ..." TARGET ARCH=ARCH [CROSS_COMPILE=PREFIX]
build_kernel() {
	local name=$1 target=$3 src id out log f want option configs=() make
	src=$("$LOCKMAP_TOP/tools/kernel-source")
	for f in $2; do
		configs+=("$LOCKMAP_TOP/tools/config/$f")
	done
	shift 3

	# A changed source tree, compiler or configuration gets a folder of its own.
	id=$({ echo "$src"; cat "$src/Makefile" "${configs[@]}"; gcc --version; } | sha256sum | cut -c1-8)
	out=$LOCKMAP_CACHE/build/$name-$id
	lock "$name"
	if [ ! -f "$out/.complete" ]; then
		log=$out.log
		mkdir -p "$out"
		say "building a kernel ($name) from $src, two to five minutes on two cores; log: $log"
		make=(make -C "$src" O="$out" "$@")
		quietly "configure" "$log" "${make[@]}" tinyconfig
		(cd "$src" && quietly "configure" "$log" scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" "${configs[@]}")
		quietly "configure" "$log" "${make[@]}" olddefconfig
		while read -r want; do
			grep -qxF "$want" "$out/.config" && continue
			option=${want#CONFIG_}
			grep -qrwF --include='Kconfig*' "config ${option%=*}" "$src" && say "note: this kernel did not take $want"
		done < <(awk -F '[= ]' '/^CONFIG_/ { want[$1] = $0 } /^# CONFIG_.* is not set/ { delete want[$2] }
			END { for (i in want) print want[i] }' "${configs[@]}")
		quietly "build" "$log" "${make[@]}" -j"$JOBS" "$target" modules_prepare modules
		[ -s "$out/Module.symvers" ] || cp "$out/vmlinux.symvers" "$out/Module.symvers"
		touch "$out/.complete"
	fi
	echo "$out"
}

# Get a kernel: its build folder or headers as $kdir, the command that boots it as $machine, a busybox for it as $BUSYBOX.
# usage: get_kernel uml-*|debian-*|kcsan|i386|arm64
# shellcheck disable=SC2034
get_kernel() {
	local tools=$LOCKMAP_TOP/tools dir
	export BUSYBOX=/bin/busybox
	case $1 in
	uml-*)
		kdir=$("$tools/kernel-uml" "${1#uml-}")
		machine=("$tools/run-uml" "$kdir")
		return
		;;
	debian-*)
		dir=$("$tools/kernel-debian" "${1#debian-}")
		kdir=$dir/headers machine=("$tools/run-qemu" "$dir/vmlinuz")
		;;
	*)
		kdir=$("$tools/kernel-qemu" "$1")
		machine=("$tools/run-qemu" "$kdir/image")
		[ "$1" = kcsan ] || BUSYBOX=$("$tools/busybox" "$1")
		;;
	esac
	"$tools/deps" qemu
}

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
	local stamp=$LOCKMAP_CACHE/apt/$1/stamp
	[ -n "$(find "$stamp" -mmin -1440 2>/dev/null)" ] && return
	say "reading the package list of $1"
	apt_suite "$1" apt-get update >"$LOCKMAP_CACHE/apt-update.log" 2>&1 ||
		{ cat "$LOCKMAP_CACHE/apt-update.log" >&2; return 1; }
	touch "$stamp"
}

# Run a virtual machine with its console on stdout and a limit of $TIMEOUT seconds. One that dies before its init
# has started met an accident of the emulator: that is tried again. After that nothing is.
# usage: guest COMMAND...
# returns: 0 powered off, 124 hung, 1 died
guest() {
	local limit=${TIMEOUT:-300} try start hung=
	guest_log=$(mktemp) guest_pid=
	trap '[ -z "$guest_pid" ] || kill -KILL "$guest_pid" 2>/dev/null; rm -f "$guest_log"' EXIT
	for try in 1 2 3; do
		[ "$try" -eq 1 ] || say "the guest died before its init started; try $try of 3"
		: >"$guest_log"
		setpriv --pdeathsig KILL "$@" >"$guest_log" 2>&1 </dev/null 9>&- &
		guest_pid=$! start=$SECONDS
		disown # the shell need not say how it ended
		tail -n +1 -s 0.1 -f --pid=$guest_pid "$guest_log" | sed -u 's/\r*$//' &
		while kill -0 "$guest_pid" 2>/dev/null; do
			sleep 0.1
			if (( SECONDS - start >= limit )); then
				kill -KILL "$guest_pid" && hung=1
				break
			fi
		done
		guest_pid=
		wait
		grep -q 'lockmap: guest started' "$guest_log" && break
	done
	[ -z "$hung" ] || return 124
	grep -q 'lockmap: guest ended' "$guest_log"
}
