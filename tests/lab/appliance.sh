#!/bin/bash
# appliance.sh - whole appliances under emulation, each with its serial line in a terminal of 80 x 24. To be sourced:
#
#   . tests/lab/appliance.sh
#   machine_start host --iso build/image/freehold.iso --disk disk.raw,serial=LAB00001 --forward 18443:8443
#   machine_wait host 'Install' 60        # a regular expression on its screen; the time it took is in $took
#   machine_type host '1234'              # text
#   machine_keys host Enter F1 C-c        # keys as tmux names them
#   machine_screen host                   # what it shows now
#   machine_power_button host             # presses it
#   machine_ended host 60                 # waits for it to switch off or (first machine_start ... --once) to restart
#   machine_stop host                     # pulls the plug
#
# machine_start NAME OPTION...:
#   --iso FILE               in the CD drive, booted from first
#   --stick FILE             the same image as a USB stick, booted from first
#   --disk FILE[,PROPERTY]   a disk (raw or qcow2 by its suffix; virtio, properties of the device: serial=...); repeat
#   --drive FILE             a further small raw disk (an answer file); repeat
#   --uefi                   OVMF with variables of its own, else SeaBIOS
#   --memory MIB             1024
#   --forward HOST:GUEST     TCP port on this machine's loopback; repeat. Nothing else goes out.
#   --cable PATH,server=on   a second adapter, joined to another machine's over a Unix socket (the other: server=off)
#   --once                   a restart ends the machine
#   -- ARGS                  for QEMU, as they are
#
# Failures print the screen and return 1. Every machine and file of $appliance_work is gone when the shell ends, however
# it ends; KEEP=1 keeps the files. One processor under TCG, as in run.sh; KVM with SVM or VMX where it is real.
appliance_work=$(mktemp -d "${TMPDIR:-/tmp}/appliance.XXXXXX")
appliance_tmux=(tmux -L "freehold-$$" -f /dev/null)
declare -A machine_pid=()

appliance_cleanup() {
	local m
	for m in "${!machine_pid[@]}"; do
		kill -KILL "${machine_pid[$m]}" 2>/dev/null
	done
	"${appliance_tmux[@]}" kill-server 2>/dev/null
	if [ -n "${KEEP:-}" ]; then echo "appliance.sh: files in $appliance_work" >&2; else rm -rf "$appliance_work"; fi
}
trap appliance_cleanup EXIT
trap 'exit 130' INT TERM HUP

# QEMU's accelerator and processor: as tests/lab/run.sh has it.
appliance_processor() {
	local v
	if [ -w /dev/kvm ] && grep -qE '^(Y|1)' /sys/module/kvm_*/parameters/nested 2>/dev/null; then
		echo "-accel kvm -cpu host"
		return
	fi
	v=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p' | head -n 1)
	echo "-accel tcg,thread=single -cpu EPYC,+svm,+npt$([ "$v" -ge 8 ] || echo ,-cx16)"
}

# The firmware's files: code, and a copy of its empty variables for this machine.
appliance_uefi() {
	local d=/usr/share/OVMF
	[ -e "$appliance_work/$1.vars" ] || cp $d/OVMF_VARS_4M.fd "$appliance_work/$1.vars"
	echo "-M q35 -drive if=pflash,unit=0,format=raw,readonly=on,file=$d/OVMF_CODE_4M.fd" \
		"-drive if=pflash,unit=1,format=raw,file=$appliance_work/$1.vars"
}

machine_start() {
	local name=$1 memory=1024 board="-M pc" net="user,id=n0,restrict=on" i=0 file line cable=() args=() end=()
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--iso) args+=(-drive "if=none,id=cd,media=cdrom,readonly=on,file=$2" -device ide-cd,drive=cd,bootindex=0) && shift ;;
		--stick) args+=(-drive "if=none,id=stick,format=raw,readonly=on,file=$2" -device qemu-xhci
			-device usb-storage,drive=stick,removable=on,bootindex=0) && shift ;;
		--disk)
			file=${2%%,*}
			line=raw
			[ "${file%.qcow2}" = "$file" ] || line=qcow2
			args+=(-drive "if=none,id=d$i,format=$line,cache=unsafe,file=$file"
				-device "virtio-blk-pci,drive=d$i,bootindex=$((i + 1))${2#"$file"}")
			i=$((i + 1))
			shift
			;;
		--drive)
			args+=(-drive "if=none,id=d$i,format=raw,cache=unsafe,file=$2" -device "virtio-blk-pci,drive=d$i")
			i=$((i + 1))
			shift
			;;
		--uefi) board=$(appliance_uefi "$name") ;;
		--memory) memory=$2 && shift ;;
		--forward) net="$net,hostfwd=tcp:127.0.0.1:${2%:*}-:${2#*:}" && shift ;;
		--cable) cable=(-netdev "stream,id=n1,addr.type=unix,addr.path=${2%%,*},${2#*,}"
			-device "virtio-net-pci,netdev=n1,romfile=,mac=52:54:00:77:$(printf '%02x:%02x' $((${#name} % 256)) $((16#$(printf %s "$name" | md5sum | cut -c 1-2))))") && shift ;;
		--once) end=(-no-reboot) ;;
		--) shift && args+=("$@") && break ;;
		*) echo "machine_start: $1?" >&2 && return 1 ;;
		esac
		shift
	done
	# shellcheck disable=SC2046,SC2086 # words
	set -- setpriv --pdeathsig KILL qemu-system-x86_64 $(appliance_processor) $board -smp 1 -m "$memory" -nodefaults -no-user-config \
		-name "$name" -display none -device VGA -rtc base=utc "${end[@]}" -pidfile "$appliance_work/$name.pid" \
		-netdev "$net" -device virtio-net-pci,netdev=n0,romfile= "${cable[@]}" "${args[@]}" \
		-chardev "stdio,id=line,signal=off,logfile=$appliance_work/$name.log" -serial chardev:line \
		-chardev "pipe,id=monitor,path=$appliance_work/$name.monitor" -mon chardev=monitor
	printf '%q ' "$@" >"$appliance_work/$name.command"
	rm -f "$appliance_work/$name.pid" "$appliance_work/$name.log" "$appliance_work/$name".monitor.*
	mkfifo "$appliance_work/$name.monitor.in" "$appliance_work/$name.monitor.out" || return 1
	# tmux starts it from its own server: the pane's process is QEMU itself, so that it ends with its pane.
	"${appliance_tmux[@]}" new-session -d -s "$name" -x 80 -y 24 "exec $(cat "$appliance_work/$name.command") 2>'$appliance_work/$name.err'" \; \
		set-option -t "$name" status off \; set-option -t "$name" remain-on-exit on \; set-option -g history-limit 5000 || return 1
	for ((i = 0; i < 100; i++)); do
		[ ! -s "$appliance_work/$name.pid" ] || break
		sleep 0.1
	done
	machine_pid[$name]=$(cat "$appliance_work/$name.pid" 2>/dev/null) || {
		echo "machine_start: $name did not start: $(cat "$appliance_work/$name.err")" >&2
		return 1
	}
}

machine_screen() {
	"${appliance_tmux[@]}" capture-pane -p -t "$1"
}

machine_keys() {
	local name=$1
	shift
	"${appliance_tmux[@]}" send-keys -t "$name" "$@"
}

# In pieces, because a serial line has a short queue and the reader may be slow.
machine_type() {
	local text=$2 i
	for ((i = 0; i < ${#text}; i += 12)); do
		"${appliance_tmux[@]}" send-keys -t "$1" -l -- "${text:i:12}"
		sleep 0.1
	done
}

# Everything that came over the line since the machine was started.
machine_log() {
	tr -d '\r' <"$appliance_work/$1.log"
}

# Its parent, tmux, may be slow to take note of its end: a zombie does not run.
machine_runs() {
	[ -n "${machine_pid[$1]:-}" ] && grep -q '^State:[[:space:]]*[RSDTtI]' "/proc/${machine_pid[$1]}/status" 2>/dev/null
}

# machine_wait NAME REGEX SECONDS: until the screen shows it.
machine_wait() {
	local start=$EPOCHREALTIME until=$((SECONDS + $3))
	while ! machine_screen "$1" | grep -qE -- "$2"; do
		if [ $SECONDS -ge $until ] || ! machine_runs "$1"; then
			echo "machine_wait: $1: no '$2' within $3 s; the screen:" >&2
			machine_screen "$1" | sed 's/^/| /' >&2
			grep -v "doesn't support requested feature" "$appliance_work/$1.err" >&2
			return 1
		fi
		sleep 0.2
	done
	took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
}

# Both ends of the pipe are open here, so that nobody waits for the other side.
machine_power_button() {
	echo system_powerdown 1<>"$appliance_work/$1.monitor.in"
}

# machine_ended NAME SECONDS: until it has switched itself off.
machine_ended() {
	local until=$((SECONDS + $2))
	while machine_runs "$1"; do
		if [ $SECONDS -ge $until ]; then
			echo "machine_ended: $1 still runs after $2 s; the screen:" >&2
			machine_screen "$1" | sed 's/^/| /' >&2
			return 1
		fi
		sleep 0.2
	done
	machine_stop "$1"
}

machine_stop() {
	while machine_runs "$1"; do
		kill -KILL "${machine_pid[$1]}" 2>/dev/null
		sleep 0.1
	done
	unset "machine_pid[$1]"
	"${appliance_tmux[@]}" kill-session -t "$1" 2>/dev/null
	return 0
}

