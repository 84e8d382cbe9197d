#!/bin/bash
# run.sh - runs the lab: an emulated machine with virtualisation (L1) in which our worker runs real guests (L2).
#
#   run.sh suite lab [NAME...]       the scenarios of scenarios.txt of that suite (make lab, make lab T=NAME): with
#                                    names, those of that name and its variants, also of the suite lab-asked
#   run.sh shell 'commands'          one L1, the shell commands in it, its output and exit status
#   run.sh run                       a guest with its console on this terminal (make guest)
#
# To try a program by hand: it is in L1's PATH if it is in build/bin (fh-worker, fh-lab) or named in LAB_FILES:
#
#   LAB_FILES="/tmp/prog /tmp/data" tests/lab/run.sh shell 'prog /drop/data; dmesg | tail; cat /proc/meminfo'
#
# Static programs only: L1 holds busybox and the kernel modules of modules.txt. Guests are in /guests/NAME/
# {vmlinuz,initrd} (kernels.txt), scenarios and their library in /lab, and what the worker's socket offers
# can be called from Lua: run.sh shell "fh-lab -e 'print(...)'".
#
# Environment: LAB_KERNEL=cloud-6.12 (L1's kernel, a name of kernels.txt), LAB_MEMORY=MiB (shell, run),
# LAB_ACCEL=tcg|kvm (default: kvm where the machine's KVM can nest), LAB_CPU=model (tcg), JOBS=2 (machines at once), LAB_FILES,
# LAB_TIMEOUT=s (shell), LAB_APPEND='word=value ...' (more for L1's command line), BUILD=build, KEEP=1 (keeps the machines'
# logs), RUN_KERNEL RUN_PROCESSORS RUN_MEMORY (run).
set -eu
. "$(dirname "$0")/lib.sh"
build=${BUILD:-$top/build}
images=$build/lab
kernel=${LAB_KERNEL:-cloud-6.12}
jobs=${JOBS:-2}
work=$(mktemp -d "${TMPDIR:-/tmp}/lab.XXXXXX")

die() {
	echo "run.sh: $*" >&2
	exit 2
}

# --- what L1 is made of ------------------------------------------------------------------------------

accel() {
	local m
	if [ -n "${LAB_ACCEL:-}" ]; then
		echo "$LAB_ACCEL"
		return
	fi
	for m in kvm_intel kvm_amd; do
		if [ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -q '[Y1]' /sys/module/$m/parameters/nested 2>/dev/null; then
			echo kvm
			return
		fi
	done
	echo tcg
}

# The initramfs: the kernel's own part, the guests, and what changes from run to run.
make_initrd() {
	local p=$work/programs f
	mkdir -p "$p/bin" "$p/lab" "$p/drop"
	for f in fh-worker fh-lab fh-worker-open fh-disk; do
		[ -x "$build/bin/$f" ] && cp "$build/bin/$f" "$p/bin/"
	done
	[ -z "${LAB_STRIP-1}" ] || strip "$p"/bin/* 2>/dev/null || true
	find "$lab" -maxdepth 1 \( -name "*.lua" -o -name "*.txt" \) -exec cp {} "$p/lab/" \;
	cp "$images"/hostile* "$p/lab/" 2>/dev/null || true
	for f in ${LAB_FILES:-}; do
		cp -rL "$f" "$p/drop/"
	done
	[ -z "${1:-}" ] || printf '%s\n' "$1" >"$p/drop/command"
	archive "$p" >"$work/programs.cpio"
	for f in ${guests:-$(rows kernels.txt | awk '/linux-image/ { print $1 }')}; do
		echo "$images/guest-$f.cpio"
	done | xargs cat "$images/$kernel/base.cpio" "$images/disks.cpio" "$work/programs.cpio" >"$work/initrd"
	rm -rf "$p" "$work/programs.cpio"
}

# The emulated processor. QEMU before 8.0 computes wrong flags after cmpxchg16b, and an interrupt between it and
# the branch behind it then loads garbage into EFLAGS: kernel 6.12 crashed in 6 of 25 boots, in none of 30 without
# the instruction. Guests of the lab do not see it then either.
emulated_cpu() {
	local v
	v=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p' | head -n 1)
	if [ "$v" -lt 8 ]; then echo "EPYC,+svm,+npt,-cx16"; else echo "EPYC,+svm,+npt"; fi
}

# machine MEMORY APPEND: sets the array machine to the command line of one L1 without its serial ports.
machine() {
	local cpu
	cpu=(-accel tcg,thread=single -cpu "${LAB_CPU:-$(emulated_cpu)}")
	# One processor: emulated SVM on several threads crashes L1 once in a while (QEMU 7.2).
	[ "$(accel)" = kvm ] && cpu=(-accel kvm -cpu host)
	machine=(setpriv --pdeathsig KILL qemu-system-x86_64 "${cpu[@]}" -M pc -smp 1 -m "$1" -nodefaults
		-no-user-config -display none -no-reboot -kernel "$images/$kernel/vmlinuz" -initrd "$work/initrd"
		-append "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off lab.accel=$(accel) ${LAB_APPEND:-} $2")
}

# --- one L1 with its order line ----------------------------------------------------------------------

# start_l1 SLOT MEMORY APPEND ARGS...: L1 of this slot. Its process is in pid[SLOT], its order line in
# to[SLOT] and from[SLOT], its kernel's log in $work/SLOT.log.
declare -A pid=() to=() from=()
start_l1() {
	local slot=$1 memory=$2 append=$3 i o
	shift 3
	rm -f "$work/$slot.in" "$work/$slot.out"
	mkfifo "$work/$slot.in" "$work/$slot.out"
	exec {i}<>"$work/$slot.in" {o}<>"$work/$slot.out"
	machine "$memory" "$append"
	"${machine[@]}" -serial "file:$work/$slot.log" -serial stdio "$@" <&"$i" >&"$o" 2>"$work/$slot.err" &
	pid[$slot]=$!
	to[$slot]=$i
	from[$slot]=$o
}

stop_l1() {
	local slot=$1 i=${to[$1]:-} o=${from[$1]:-}
	[ -n "${pid[$slot]:-}" ] || return 0
	kill -KILL "${pid[$slot]}" 2>/dev/null || true
	wait "${pid[$slot]}" 2>/dev/null || true
	exec {i}>&- {o}>&-
	unset "pid[$slot]"
}

# next_line SLOT UNTIL: the next line of the order line in $line; 1 when L1 has ended, 2 at the time UNTIL, or
# when $still is set and L1 has given no sign of life for that many seconds.
next_line() {
	local slot=$1 until=$2 part='' gone=
	line=
	while :; do
		if IFS= read -r -t 1 -u "${from[$slot]}" part; then
			line=$line${part%$'\r'}
			return 0
		fi
		line=$line$part
		[ -z "$gone" ] || [ -n "$part" ] || return 1
		[ "$SECONDS" -lt "$until" ] || return 2
		[ -z "${still:-}" ] || [ -n "$part" ] || [ "$(silence "$slot")" -lt "$still" ] || return 2
		kill -0 "${pid[$slot]}" 2>/dev/null || gone=1
	done
}

# Seconds since L1's last sign of life.
silence() {
	echo $(($(date +%s) - $(stat -c %Y "$work/$1.log")))
}

order() {
	echo "$2" >&"${to[$1]}"
}

# await SLOT MARK UNTIL: prints lines until one begins with MARK, which is left in $line.
await() {
	local rc
	while :; do
		rc=0
		next_line "$1" "$3" || rc=$?
		if [ $rc != 0 ]; then
			[ -z "$line" ] || printf '%s\n' "$line"
			return $rc
		fi
		case $line in
		"$2"*) return 0 ;;
		*) printf '%s\n' "$line" ;;
		esac
	done
}

# The emulator's own fault (docs/performance.md, "Limits"): an interrupt is delivered once more while they are
# disabled, which makes L1's kernel panic, or spin for ever in a lock that the interrupted code holds: then not even
# its sign of life (init) comes any more; or a guest's kernel, which lab.lua finds in a scenario that failed. No
# program can do that to a kernel. Nothing else is ever tried again.
emulator_fault() {
	if grep -q 'TASK stack guard page was hit' "$work/$1.log" && grep -q '__svm_vcpu_run' "$work/$1.log"; then
		fault="panicked in VMRUN"
	elif [ "$(silence "$1")" -ge 60 ]; then
		fault="stood still for a minute"
	else
		return 1
	fi
}

show_l1() {
	echo "--- the machine's own log, last lines ($1)"
	grep -av '^alive' "$work/$1.log" 2>/dev/null | tail -n "${2:-40}" | tr -d '\r' | sed 's/^/L1| /'
	grep -v "doesn't support requested feature\|Unknown register" "$work/$1.err" 2>/dev/null | tail -n 20 | sed 's/^/emulator| /' || true
}

# --- scenarios ---------------------------------------------------------------------------------------

# The next scenario in the queue whose memory column is $1 (any, if empty): "NAME MEMORY LIMIT" in $next.
take() {
	local l
	{
		flock 7
		next=
		: >"$work/queue.rest"
		while read -r l; do
			if [ -z "$next" ] && { [ -z "${1:-}" ] || [ "$(set -- $l; echo "$2")" = "$1" ]; }; then
				next=$l
			else
				echo "$l" >>"$work/queue.rest"
			fi
		done <"$work/queue"
		mv "$work/queue.rest" "$work/queue"
	} 7>"$work/queue.lock"
	[ -n "$next" ]
}

# report NAME SECONDS FILE: prints a scenario's result in one piece and counts it.
report() {
	{
		flock 7
		printf '=== %s (%s s)\n' "$1" "$2"
		cat "$3"
		cat "$3" >>"$work/results"
		echo "$1 $2" >>"$work/times"
	} 7>"$work/report.lock"
}

# run_one SLOT NAME LIMIT OUT: one scenario in the running L1s named after SLOT (one, or "a" and "b" of a pair).
# 0 done (whatever came out), 1 the machine is of no use any more, 3 the emulator's fault.
run_one() {
	local slots=$1 name=$2 until=$((SECONDS + $3)) out=$4 s rc still=180
	for s in $slots; do
		order "$s" "scenario $name"
	done
	for s in $slots; do
		rc=0
		await "$s" "LAB BEGIN" "$until" >/dev/null && await "$s" "LAB END $name" "$until" >>"$out" || rc=$?
		if [ $rc = 0 ] && [ "${line##* }" != 0 ]; then
			grep -q '^FAIL' "$out" || echo "FAIL $name: ended with status ${line##* }" >>"$out"
			# Only if that explains every failure.
			if grep -q '^EMULATOR' "$out" && [ "$(grep -c '^EMULATOR' "$out")" = "$(grep -c '^FAIL' "$out")" ]; then
				fault="$(sed -n 's/^EMULATOR //p' "$out" | head -n 1 | tr -d '\r')"
				return 3
			fi
		fi
		[ $rc = 0 ] && continue
		emulator_fault "$s" && return 3
		[ $rc = 2 ] && echo "FAIL $name: not done within $3 s" >>"$out"
		[ $rc = 1 ] && echo "FAIL $name: the lab's machine ended" >>"$out"
		show_l1 "$s" >>"$out"
		return 1
	done
}

# boot_slots SLOTS MEMORY: starts one L1, or two joined by a cable where the column says 512+512.
boot_slots() {
	local slots=$1 memory=$2 s role=a net
	for s in $slots; do
		if [ "$memory" = "${memory%+*}" ]; then
			start_l1 "$s" "$memory" ""
		else
			net=server=on
			[ $role = a ] || net=server=off
			start_l1 "$s" "${memory%+*}" "lab.role=$role" -device "virtio-net-pci,netdev=n,romfile=,mac=52:54:00:77:00:0$role" \
				-netdev "stream,id=n,$net,addr.type=unix,addr.path=$work/${s%?}.cable"
			while [ $role = a ] && [ ! -S "$work/${s%?}.cable" ] && kill -0 "${pid[$s]}" 2>/dev/null; do sleep 0.05; done
			memory=${memory#*+}+
			role=b
		fi
	done
	for s in $slots; do
		await "$s" "LAB READY" $((SECONDS + 90)) >>"$work/$s.boot" || return 1
	done
}

stop_slots() {
	local s
	for s in $1; do
		order "$s" off
	done
	for s in $1; do
		[ -z "${pid[$s]:-}" ] || next_line "$s" $((SECONDS + 5)) || true
		stop_l1 "$s"
		rm -f "$work/${s%?}.cable"
	done
}

# whole_appliance NAME[-TEST] LIMIT OUT: a scenario that starts machines of its own from the ISO: NAME.sh [TEST].
whole_appliance() {
	local script=$lab/${1%%-*}.sh test=${1#"${1%%-*}"} rc=0
	ISO=$build/image/freehold.iso timeout -k 10 "$2" "$script" ${test:+"${test#-}"} >"$3" 2>&1 || rc=$?
	[ $rc != 124 ] || echo "FAIL $1: not done within $2 s" >>"$3"
	[ $rc = 0 ] || grep -q '^FAIL' "$3" || echo "FAIL $1: ended with status $rc" >>"$3"
}

# One lane: boots machines and takes scenarios until the queue is empty.
lane() {
	local lane=$1 memory='' slots='' rc t out tries=0 next fault=''
	trap 'for s in "${!pid[@]}"; do kill -KILL "${pid[$s]}" 2>/dev/null; done' EXIT
	trap 'exit 130' INT TERM HUP
	while take "$memory" || { [ -n "$memory" ] && stop_slots "$slots" && memory='' && take; }; do
		set -- $next
		out=$work/$1.out.txt
		while :; do
			: >"$out"
			t=$EPOCHREALTIME
			rc=0
			if [ "$2" = iso ]; then
				whole_appliance "$1" "$3" "$out"
				break
			fi
			if [ -z "$memory" ]; then
				memory=$2
				slots=$lane.0
				[ "$memory" = "${memory%+*}" ] || slots="$lane.a $lane.b"
				boot_slots "$slots" "$memory" || rc=4
				echo "$(elapsed "$t")" >>"$work/boots"
				t=$EPOCHREALTIME
			fi
			if [ $rc = 4 ]; then
				echo "FAIL $1: the lab's machine did not start" >>"$out"
				for s in $slots; do show_l1 "$s" >>"$out"; cat "$work/$s.boot" >>"$out"; done
			else
				run_one "$slots" "$1" "$3" "$out" || rc=$?
			fi
			[ $rc = 0 ] || { for s in $slots; do stop_l1 "$s"; done; memory=; }
			[ $rc = 3 ] && [ $tries -lt 3 ] || break
			tries=$((tries + 1))
			echo "lab: $1: AGAIN: the emulated machine $fault (a fault of QEMU)"
		done
		[ $rc != 3 ] || echo "FAIL $1: the emulated machine $fault, $tries times and once more" >>"$out"
		report "$1" "$(elapsed "$t")" "$out"
	done
}

elapsed() {
	awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

lanes() {
	local l
	make_initrd
	for ((l = 1; l <= jobs; l++)); do
		lane "$l" &
		lanes+=($!)
	done
	wait "${lanes[@]}" || true
	lanes=()
}

# --- Bochs: VT-x ------------------------------------------------------------------------------------

# Its machine boots an ISO image and has no order line: the scenarios are on its command line. Bochs gives a wrong size
# of the compacted XSAVE area, and Linux then leaves all of XSAVE alone, also for guests; so it must not see that form.
bochs_files() {
	local memory=$1 names=$2 d=$work/iso
	mkdir -p "$d/boot/grub"
	cp "$images/$kernel/vmlinuz" "$work/initrd" "$d/boot/"
	cat >"$d/boot/grub/grub.cfg" <<-END
	set timeout=0
	linux /boot/vmlinuz console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off clearcpuid=xsavec,xsaves ${LAB_APPEND:-} lab.accel=bochs lab.run=$names
	initrd /boot/initrd
	boot
	END
	grub-mkrescue -o "$work/lab.iso" "$d" >"$work/iso.log" 2>&1 || die "grub-mkrescue: $(cat "$work/iso.log")"
	cat >"$work/bochsrc" <<-END
	cpu: model=corei7_skylake_x, count=1, ips=100000000, reset_on_triple_fault=1
	memory: guest=$memory, host=$memory
	romimage: file=/usr/share/bochs/BIOS-bochs-latest
	vgaromimage: file=/usr/share/vgabios/vgabios.bin
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata0-master: type=cdrom, path=$work/lab.iso, status=inserted
	boot: cdrom
	clock: sync=none, time0=local
	com1: enabled=1, mode=file, dev=$work/1.0.log
	com2: enabled=1, mode=file, dev=$work/1.0.orders
	sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
	speaker: enabled=0
	display_library: term
	log: $work/1.0.err
	panic: action=fatal
	error: action=report
	info: action=ignore
	END
	echo c >"$work/bochs.go"
}

# Bochs draws its screen on a terminal of its own making, and stops for ever once nobody has read that for minutes.
bochs_screen() {
	local tty
	[ -z "${pid[screen]:-}" ] || return 0
	tty=$(sed -n 's/.*connected to screen "\(.*\)".*/\1/p' "$work/bochs.screen")
	[ -n "$tty" ] || return 0
	setpriv --pdeathsig KILL cat "$tty" >/dev/null 2>&1 &
	pid[screen]=$!
}

# The lines of a scenario in what Bochs has written to the order line.
bochs_said() {
	tr -d '\r' <"$work/1.0.orders" | awk -v name="$1" '
		/^LAB END/ { on = 0 }
		on { print }
		/^LAB BEGIN/ { on = $3 == name }'
}

# bochs_line MARK: the first whole line of the order line that begins with MARK, in $line.
bochs_line() {
	while IFS= read -r line; do
		line=${line%$'\r'}
		case $line in "$1 "*) return 0 ;; esac
	done <"$work/1.0.orders"
	return 1
}

# bochs_await MARK LIMIT: waits for that line; 1 when the machine has ended, 2 after LIMIT seconds.
bochs_await() {
	local until=$((SECONDS + $2)) gone=
	while ! bochs_line "$1"; do
		[ -z "$gone" ] || return 1
		[ "$SECONDS" -lt "$until" ] || return 2
		sleep 1
		bochs_screen
		kill -0 "${pid[1.0]}" 2>/dev/null || gone=1
	done
}

# All scenarios of the suite in one machine, which has them on its command line.
bochs() {
	local names memory t=$EPOCHREALTIME name limit rest out rc lost=
	names=$(awk '{ printf "%s%s", sep, $1; sep = "," }' "$work/queue")
	memory=$(awk '$2 > m { m = $2 } END { print m }' "$work/queue")
	guests="cloud-6.12 cloud-6.1 pae-6.1"
	make_initrd
	bochs_files "$memory" "$names"
	: >"$work/1.0.orders"
	setpriv --pdeathsig KILL script -qec "exec bochs-bin -q -f $work/bochsrc -rc $work/bochs.go" /dev/null \
		>"$work/bochs.screen" 2>&1 </dev/null &
	pid[1.0]=$!
	bochs_await "LAB READY" 300 || lost="its start"
	echo "$(elapsed "$t")" >"$work/boots"
	while read -r name rest limit; do
		out=$work/$name.out.txt
		t=$EPOCHREALTIME
		rc=0
		[ -n "$lost" ] || bochs_await "LAB END $name" "$limit" || rc=$?
		bochs_said "$name" >"$out"
		if [ -n "$lost" ]; then
			echo "FAIL $name: not begun: the lab's machine was lost in $lost" >>"$out"
			[ "$lost" != "its start" ] || show_l1 1.0 >>"$out"
		elif [ $rc != 0 ]; then
			[ $rc = 2 ] && echo "FAIL $name: not done within $limit s" >>"$out"
			[ $rc = 1 ] && echo "FAIL $name: the lab's machine ended" >>"$out"
			show_l1 1.0 >>"$out"
			lost=$name
		elif [ "${line##* }" != 0 ] && ! grep -q '^FAIL' "$out"; then
			echo "FAIL $name: ended with status ${line##* }" >>"$out"
		fi
		report "$name" "$(elapsed "$t")" "$out"
	done <"$work/queue"
	kill -KILL "${pid[1.0]}" 2>/dev/null || true
	wait "${pid[1.0]}" 2>/dev/null || true
	unset "pid[1.0]"
}

suite() {
	local name=$1 n p f s l1 start=$EPOCHREALTIME
	shift
	# A name stands for all variants of it, and brings in what runs only when asked for, here or by the long suite.
	rows scenarios.txt | awk -v suite="$name" -v want="$*" '
		function asked(row, i) {
			for (i = 1; i <= n; i++)
				if (row == names[i] || index(row, names[i] "-") == 1)
					return 1
			return n == 0
		}
		BEGIN { n = split(want, names, " ") }
		{ extra = $4 == "lab-asked" && (suite == "lab-long" || suite == "lab" && n > 0) }
		($4 == suite || extra) && asked($1) { print $1, $2, $3 }' >"$work/queue"
	[ -s "$work/queue" ] || die "no scenario ${*:-at all} in suite $name: see scenarios.txt"
	[ "$(wc -l <"$work/queue")" -ge "$jobs" ] || jobs=$(wc -l <"$work/queue")
	: >"$work/results"
	: >"$work/times"
	l1=$(accel)
	if [ "$name" = lab-intel ] && [ "$l1" = tcg ]; then
		l1=bochs
		bochs
	else
		lanes
	fi
	p=$(grep -c '^PASS' "$work/results" || true)
	f=$(grep -c '^FAIL' "$work/results" || true)
	s=$(grep -c '^SKIP' "$work/results" || true)
	touch "$work/boots"
	n=$(wc -l <"$work/boots")
	echo "$name: $n machine(s) started, $(sort -n "$work/boots" | xargs) s; L1 is $kernel on $l1"
	echo "$name: $p passed, $f failed, $s skipped in $(elapsed "$start") s ($(sort "$work/times" | awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }'))"
	[ "$f" = 0 ] && [ "$p" -gt 0 ]
}

# --- by hand -----------------------------------------------------------------------------------------

shell() {
	local rc=0 until=$((SECONDS + ${LAB_TIMEOUT:-120}))
	make_initrd "$1"
	start_l1 shell "${LAB_MEMORY:-2048}" ""
	await shell "LAB READY" $((SECONDS + 60)) || rc=$?
	if [ $rc = 0 ]; then
		order shell shell
		await shell "LAB END shell" "$until" || rc=$?
	fi
	if [ $rc != 0 ]; then
		[ $rc = 2 ] && echo "run.sh: not done in time (LAB_TIMEOUT)" >&2
		[ $rc = 1 ] && echo "run.sh: the machine ended" >&2
		show_l1 shell >&2
		return 1
	fi
	return "${line##* }"
}

run() {
	make_initrd
	machine "${LAB_MEMORY:-2048}" "lab.order=run run.kernel=${RUN_KERNEL:-cloud-6.12} run.processors=${RUN_PROCESSORS:-1} run.memory=${RUN_MEMORY:-512}"
	echo "Starting a guest (a few seconds). Its shell: 'poweroff -f' or Ctrl-D ends it; Ctrl-A x ends it by force."
	terminal=$(stty -g 2>/dev/null || true)
	exec {keyboard}<&0 # a process in the background would read /dev/null
	"${machine[@]}" -serial "file:$work/run.log" -serial mon:stdio <&"$keyboard" 2>"$work/run.err" &
	pid[run]=$!
	wait "${pid[run]}" || show_l1 run
}

lanes=()
cleanup() {
	local s
	for s in "${lanes[@]}"; do kill -TERM "$s" 2>/dev/null || true; done
	for s in "${!pid[@]}"; do kill -KILL "${pid[$s]}" 2>/dev/null || true; done
	wait 2>/dev/null || true
	[ -z "${terminal:-}" ] || stty "$terminal"
	if [ -n "${KEEP:-}" ]; then echo "run.sh: logs in $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

[ -e "$images/images" ] || make -s -C "$top" lab-image
case ${1:-} in
suite) shift && suite "$@" ;;
shell) shell "${2:?run.sh shell COMMANDS}" ;;
run) run ;;
*) die "usage: run.sh suite NAME [SCENARIO...] | shell 'COMMANDS' | run" ;;
esac
