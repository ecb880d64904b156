# SPDX-License-Identifier: GPL-2.0 OR MIT
# Shared by the scripts that deal with kernels and virtual machines.
# shellcheck shell=bash

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Say which options of these parts a configuration lacks, though this kernel has such options.
# usage: not_taken SOURCE CONFIGURATION PART...
not_taken() {
	local src=$1 have=$2 want names
	shift 2
	want=$(awk -F '[= ]' '/^CONFIG_/ { want[$1] = $0 } /^# CONFIG_.* is not set/ { delete want[$2] }
		END { for (i in want) print want[i] }' "$@" | grep -vxFf "$have") || return 0
	names=$(sed 's/^CONFIG_//; s/=.*//' <<<"$want" | paste -sd '|')
	find "$src" -name 'Kconfig*' -exec grep -hoE "^(menu)?config ($names)\$" {} + | awk '{ print $2 }' | sort -u |
		while read -r want; do
			say "note: this kernel did not take CONFIG_$want"
		done
}

# Build a kernel from parts in tools/vm/config, over tinyconfig, and print its build folder.
# usage: build_kernel NAME "PART ..." TARGET ARCH=ARCH [CROSS_COMPILE=PREFIX]
build_kernel() {
	local name=$1 target=$3 start=$SECONDS src id out log f configs=() make
	src=$("$LOCKMAP_TOP/tools/vm/kernel-source")
	for f in $2; do
		configs+=("$LOCKMAP_TOP/tools/vm/config/$f")
	done
	shift 3

	# A changed source tree, compiler or configuration gets a folder of its own.
	id=$({ echo "$src"; cat "$src/Makefile" "${configs[@]}"; gcc --version; } | sha256sum | cut -c1-8)
	out=$LOCKMAP_CACHE/build/$name-$id
	lock "$name"
	if [ ! -f "$out/.complete" ]; then
		log=$out.log
		mkdir -p "$out"
		say "building a kernel ($name) from $src, about four minutes on two cores; log: $log"
		make=(make -C "$src" O="$out" "$@")
		quietly "configure" "$log" "${make[@]}" tinyconfig
		(cd "$src" && quietly "configure" "$log" scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" "${configs[@]}")
		quietly "configure" "$log" "${make[@]}" olddefconfig
		not_taken "$src" "$out/.config" "${configs[@]}"
		quietly "build" "$log" "${make[@]}" -j"$JOBS" "$target" modules_prepare modules
		[ -s "$out/Module.symvers" ] || cp "$out/vmlinux.symvers" "$out/Module.symvers"
		touch "$out/.complete"
		say "built the kernel $name in $((SECONDS - start)) s"
	fi
	echo "$out"
}


# What FILTER says, as kunit.filter_glob wants it: "SUITE.CASE", each a glob. A name alone is that of a suite, with or
# without lockmap_, if there is one, else of a case of any suite.
# usage: kunit_glob FILTER
kunit_glob() {
	local suites suite=${1%%.*} case='*'
	# tests/NAME.c has the suite lockmap_NAME.
	suites=$(cd "$LOCKMAP_TOP" && find tests -name '*.c' -printf 'lockmap_%f\n' 2>/dev/null | sed 's/\.c$//')
	case $1 in
	*.*)	case=${1#*.} ;;
	lockmap*) ;;
	*)	if ! grep -qxF "lockmap_$suite" <<<"$suites"; then
			suite='*' case=$1
		fi ;;
	esac
	! grep -qxF "lockmap_$suite" <<<"$suites" || suite=lockmap_$suite
	echo "$suite.$case"
}

# Make TAP of what KUnit says, with the kernel's own parser: "ok - NAME SUITE.CASE". That nothing ran is not an error here.
# Nor is a case one that needs a boot of its own: tools/test gives it that.
# usage: kunit_tap NAME
kunit_tap() {
	awk -v name="$1" '
		match($0, /^\[[0-9:]+\] =+ [a-z0-9_]+ \([0-9]+ subtests?\)/) { suite = $3 }
		{ sub(/^\[[0-9:]+\] /, "") }
		/^\[PASSED\] / { print "ok - " name " " suite "." $2; next }
		/^\[SKIPPED\] .*needs a boot of its own/ { print "    " $0; next }
		/^\[SKIPPED\] / { why = $0; sub(/^[^(]*\(?/, "", why); sub(/\)$/, "", why); print "ok - " name " " suite "." $2 " # SKIP " why; next }
		/^\[ERROR\]/ && !/0 tests run|[Cc]ould not find any KTAP/ { print "not ok - " name " " $0; next }
		/^\[(FAILED|CRASHED|TIMED.OUT)\] / { print "not ok - " name " " suite "." $2; next }
		{ print "    " $0 }
		{ fflush() }'
}

# Get a kernel: its build folder or headers as $kdir, the command that boots it as $machine, a busybox for it as $BUSYBOX.
# usage: get_kernel uml-*|debian-*|kcsan|many|i386|arm64
# shellcheck disable=SC2034
get_kernel() {
	local vm=$LOCKMAP_TOP/tools/vm dir
	export BUSYBOX=/bin/busybox
	case $1 in
	uml-*)
		kdir=$("$vm/kernel-uml" "${1#uml-}")
		machine=("$vm/run-uml" "$kdir")
		return
		;;
	debian-*)
		dir=$("$vm/kernel-debian" "${1#debian-}")
		kdir=$dir/headers machine=("$vm/run-qemu" "$dir/vmlinuz")
		;;
	*)
		kdir=$("$vm/kernel-qemu" "$1")
		machine=("$vm/run-qemu" "$kdir/image")
		case $1 in
		many)	machine=(env "CPUS=${CPUS:-64}" "${machine[@]}") ;;
		i386 | arm64) BUSYBOX=$("$vm/busybox" "$1") ;;
		esac
		;;
	esac
	"$LOCKMAP_TOP/tools/debian/deps" qemu
}

# Run a virtual machine with its console on stdout and a limit of $TIMEOUT seconds. One that dies before its init
# has started met an accident of the emulator: that is tried again. After that nothing is. One that has ended gets some
# seconds to power off: User Mode Linux hangs there if a process happens to run.
# usage: guest COMMAND...
# returns: 0 powered off, 124 hung, 1 died
guest() {
	local limit=${TIMEOUT:-300} try start hung= now ended
	guest_log=$(mktemp) guest_pid=
	trap '[ -z "$guest_pid" ] || kill -KILL "$guest_pid" 2>/dev/null; rm -f "$guest_log"' EXIT
	for try in 1 2 3; do
		[ "$try" -eq 1 ] || say "the guest died before its init started; try $try of 3"
		: >"$guest_log"
		setpriv --pdeathsig KILL "$@" >"$guest_log" 2>&1 </dev/null 9>&- &
		guest_pid=$! start=$SECONDS now=$SECONDS ended=
		disown # the shell need not say how it ended
		tail -n +1 -s 0.1 -f --pid=$guest_pid "$guest_log" | sed -u 's/\r*$//' &
		while kill -0 "$guest_pid" 2>/dev/null; do
			sleep 0.1
			if (( SECONDS - start >= limit )); then
				kill -KILL "$guest_pid" && hung=1
				break
			fi
			[ "$now" -ne "$SECONDS" ] || continue
			now=$SECONDS
			if [ -z "$ended" ]; then
				tail -n 5 "$guest_log" | grep -q 'lockmap: guest ended' && ended=$now
			elif [ $((now - ended)) -ge 5 ]; then
				say "the guest has ended, but does not power off: killed"
				kill -KILL "$guest_pid" 2>/dev/null || true
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
