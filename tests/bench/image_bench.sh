#!/bin/bash
# image_bench.sh - disk images beside QEMU's programs, on this machine itself: make bench-image, a part of make bench T=disk.
#
# A row is measured by all in turns, each round in another order; the best of ROUNDS (3) counts, since other load only makes
# things slower (requests: short runs and twice as many, so that some are not disturbed). A row below its budget
# (budgets.txt) is measured up to MOST (20) times: more rounds come nearer to what both can do. If it stays below while one
# program's own rounds are far apart, the computer is too busy to tell: the row is skipped, by name. Writes BUILD/bench/images.log for report.sh: a row's figures, and the row's name with _x, which is how many times
# better ours is than the best of the others. Files are in a folder of BENCH_FOLDER (default: the build's file system).
#
# Requests of both go through the page cache and io_uring, and a flush is a flush of the host's file on both sides. A copy,
# a new image or a merge has ended when the result is on the disk.
# shellcheck disable=SC2046,SC2086 # options are words
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${BUILD:-$here/../../build}")
fh=$build/bin/fh-disk
rounds=${ROUNDS:-3} most=${MOST:-20}
late=120 # seconds after which rows are measured twice only: the computer is busy with something else
mb=128                        # of a disk: a power of two, so that a stride comes to all places
scattered=$((16 << 20 | 4096)) # bytes from one request to the next, round and round
log=$build/bench/images.log
mkdir -p "$build/bench"
dir=$(mktemp -d "${BENCH_FOLDER:-$build}/image_bench.XXXXXX")
trap 'kill $daemon 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
daemon=
cd "$dir"

peer_format() { case $1 in vhdx*) echo vhdx ;; vhd*) echo vpc ;; *) echo raw ;; esac }
format() { echo "${1%-*}"; }
cached="-t writeback -i io_uring"
kind() { case $1 in *-fixed) echo "--type fixed ${2:-}" ;; esac }
# What qemu-img calls the same.
peer_kind() {
	case $1 in
	vhd-*) echo "-o subformat=${1#*-},force_size=on" ;;
	vhdx-*) echo "-o subformat=${1#*-}" ;;
	esac
}

# --- rows

# Requests a second.
per_second() { sed 's/.*"perSecond": \([0-9.]*\).*/\1/'; }
ours() { $fh bench "$@" | per_second; }
theirs() { # COUNT options
	local count=$1
	shift
	qemu-img bench -c "$count" "$@" | awk -v n="$count" '/^Run completed/ { printf "%.1f\n", n / ($4 > 0 ? $4 : 0.001) }'
}
# The same image served by qemu-storage-daemon over a Unix socket.
served() { # FORMAT FILE COUNT options
	local format=$1 file=$2 count=$3
	shift 3
	rm -f socket pid
	qemu-storage-daemon --blockdev "file,node-name=f,filename=$file,aio=io_uring" --blockdev "$format,node-name=d,file=f" \
		--nbd-server addr.type=unix,addr.path=socket --export nbd,id=e,node-name=d,name=d,writable=on --pidfile pid &
	daemon=$!
	while [ ! -s pid ] && kill -0 $daemon; do sleep 0.01; done # it is written when the socket is there
	theirs "$count" -f raw -t writeback "$@" "nbd+unix:///d?socket=socket"
	kill $daemon
	wait $daemon 2>/dev/null || true
	daemon=
}
# Seconds until `new`, or what $result says, is on the disk.
seconds() {
	local begin
	rm -f new
	begin=$(date +%s%N)
	"$@" >/dev/null
	sync "${result:-new}"
	awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "%.4f\n", ns / 1e9 }'
}

declare -A values best
less() { case $1 in *_IOPS) return 1 ;; esac } # whether less is better
# The best of what was measured; the middle where the disk's flushes are most of it, since these have their fast moments.
summary() { # FIGURE VALUES
	local figure=$1
	shift
	set -- $(printf '%s\n' "$@" | sort -g)
	case $figure in *flushed*) shift $((($# - 1) / 2)) ;; *_IOPS) shift $(($# - 1)) ;; esac
	echo "$1"
}
ratio() { # FIGURE: ours to the best of the others
	local name top=
	for name in "${!best[@]}"; do [ "$name" = freehold ] || echo "${best[$name]}"; done | sort -g >others
	less "$1" && top=$(head -n 1 others) || top=$(tail -n 1 others)
	awk -v us="${best[freehold]}" -v top="$top" -v less="$(less "$1" && echo 1)" 'BEGIN { printf "%.3f", less ? top / us : us / top }'
}
met() { # FIGURE: its budget, if it has one
	awk -v f="${1%_*}_x" -v r="$(ratio "$1")" '$1 == "images" && $2 == f && r < $4 { low = 1 } END { exit low }' "$here/budgets.txt"
}

# Whether the rounds of one program are far apart.
busy() {
	local name
	for name in "${!values[@]}"; do
		printf '%s\n' ${values[$name]} | sort -g | awk 'NR == 1 { low = $1 } END { exit !($1 > low * 1.4) }' && return
	done
	return 1
}

# FIGURE then MONITOR COMMAND for each; the command prints the figure. Ours is `freehold`.
row() {
	local figure=$1 i=0 k n names=() commands=()
	shift
	values=() best=()
	for (( ; $#; )); do
		names+=("$1") commands+=("$2")
		shift 2
	done
	while [ $i -lt "$rounds" ] || { [ $i -lt "$most" ] && ! met "$figure"; }; do
		[ $i -lt 2 ] || [ $SECONDS -lt "$late" ] || break
		for ((n = 0; n < ${#names[@]}; n++)); do
			k=${names[(n + i) % ${#names[@]}]}
			values[$k]+=" $(eval "${commands[(n + i) % ${#names[@]}]}")"
			best[$k]=$(summary "$figure" ${values[$k]})
		done
		i=$((i + 1))
	done
	[ -z "${VERBOSE:-}" ] || echo "$SECONDS s: $figure: $i rounds"
	met "$figure" || ! busy || echo "B freehold images ${figure%_*}_x" >>"$log"
	for n in "${names[@]}"; do echo "R $n images $figure ${best[$n]}"; done >>"$log"
	echo "R freehold images ${figure%_*}_x $(ratio "$figure")" >>"$log"
}

# --- what is measured

creation() { # KIND
	local f q rounds=$((rounds * 3)) # they are short
	f=$(format "$1") q=$(peer_format "$1")
	row "$1.create_s" freehold "seconds $fh create -q -t $f $(kind "$1" --sparse) new 1T" \
		qemu-img "seconds qemu-img create -q -f $q $(peer_kind "$1") new 1T"
}

conversion() { # KIND
	local f q
	f=$(format "$1") q=$(peer_format "$1")
	row "$1.from-raw_s" freehold "seconds $fh convert -q -f raw -t $f $(kind "$1") full.raw new" \
		qemu-img "seconds qemu-img convert -f raw -O $q $(peer_kind "$1") full.raw new"
	[ "$1" != raw ] || return 0
	row "$1.to-raw_s" freehold "seconds $fh convert -q -f $f -t raw image new" \
		qemu-img "seconds qemu-img convert -f $q -O raw image new"
}

requests() { # KIND
	local f q few=1 ours="--pattern stride --stride $scattered" theirs="-s 4096 -S $scattered"
	f=$(format "$1") q=$(peer_format "$1")
	[ "$1" != vhd-dynamic ] || few=30 # QEMU writes a block's bitmap with each write
	local rounds=$((rounds * 2))
	row "$1.read_IOPS" freehold "ours -f $f --depth 16 $ours --count 16000 image" \
		qemu-img "theirs 12000 -f $q $cached -d 16 $theirs image" qemu-sd "served $q copy 2000 -d 16 $theirs"
	row "$1.write_IOPS" freehold "ours -f $f --op write --depth 16 $ours --count 8000 image" \
		qemu-img "theirs $((6000 / few)) -f $q $cached -w -d 16 $theirs image" \
		qemu-sd "served $q copy $((1800 / few)) -w -d 16 $theirs"
}

# A flush behind each eighth write, one request at a time.
flushed_writes() { # KIND
	local f q ours="--pattern stride --stride $scattered" theirs="-s 4096 -S $scattered" rounds=$((rounds * 2))
	f=$(format "$1") q=$(peer_format "$1")
	row "$1.flushed-write_IOPS" \
		freehold "ours -f $f --op write $ours --count 320 --flush-every 8 image" \
		qemu-img "theirs 320 -f $q $cached -w -d 1 $theirs --flush-interval=8 image" \
		qemu-sd "served $q copy 320 -w -d 1 $theirs --flush-interval=8"
}

# Each write is the first to its block of a new image.
fresh() { rm -f new && $fh create -q -t "${1%-*}" --block-size 2M new 8G; }
fresh_peer() { rm -f new && qemu-img create -q -f "$1" $([ "$1" != vhdx ] || echo -o block_size=2M) new 8G; }
allocation() { # KIND
	local f q ours="--op write --pattern stride --stride 2M" theirs="-w -d 1 -s 4096 -S 2M"
	f=$(format "$1") q=$(peer_format "$1")
	row "$1.alloc_IOPS" freehold "fresh $1; ours -f $f $ours --count 4000 new" \
		qemu-img "fresh_peer $q; theirs 60 -f $q $cached $theirs new" qemu-sd "fresh_peer $q; served $q new 60 $theirs"
	[ "$f" = vhdx ] || return 0
	row "$1.alloc-direct_IOPS" freehold "fresh $1; ours -f $f $ours --direct --count 1000 new" \
		qemu-img "fresh_peer $q; theirs 60 -f $q -t none -i native $theirs new"
}

# Flushes of the host's file for each of the guest's, one behind each write that allocates. fh-disk counts its own (the
# kernel's tracepoint for ext4 says the same); QEMU's are system calls if it has threads.
file_flushes() { sed 's/.*"fileFlushes": \([0-9]*\).*/\1/' | awk '{ print $1 / 200 }'; }
traced_flushes() { # qemu-img's options
	strace -f -qq -e trace=fdatasync,fsync -e signal=none -o calls qemu-img bench -q -c 60 "$@" >/dev/null
	grep -c 'sync(' calls | awk '{ print $1 / 60 }'
}
flushes() { # KIND
	local f q
	f=$(format "$1") q=$(peer_format "$1")
	rounds=1 row "$1.file-flushes" \
		freehold "fresh $1; $fh bench -f $f --op write --pattern stride --stride 2M --count 200 --flush-every 1 new | file_flushes" \
		qemu-img "fresh_peer $q; traced_flushes -f $q -t writeback -i threads -w -d 1 -s 4096 -S 2M --flush-interval=1 new"
}

# 128 MiB of data in the first image and in each of the two on it; all of it goes to the first. QEMU has no VHDX with
# parents, so this is the format that has.
chain() {
	local write="$fh bench -q --op write --pattern stride --stride 3M --size 1M --count 128" n
	rm -f ./?.vhdx
	$fh create -q 1.vhdx 1G && $write 1.vhdx
	for n in 2 3; do $fh create -q --parent $((n - 1)).vhdx $n.vhdx && $write $n.vhdx; done
	sync ./?.vhdx
} >/dev/null
peer_chain() {
	local n
	rm -f ./?.qcow2
	for n in 1 2 3; do
		qemu-img create -q -f qcow2 $([ $n = 1 ] || echo "-b $((n - 1)).qcow2 -F qcow2") $n.qcow2 1G
		qemu-img bench -q -f qcow2 -w -c 128 -d 1 -s 1M -S 3M $n.qcow2
	done
	sync ./?.qcow2
} >/dev/null
merge() {
	row chain.merge_s freehold "chain; result=1.vhdx seconds $fh merge -q --levels all 3.vhdx" \
		qemu-img "peer_chain; result=1.qcow2 seconds qemu-img commit -q -d -b 1.qcow2 3.qcow2"
}

image() { # KIND
	$fh convert -q -f raw -t "$(format "$1")" $(kind "$1") --force full.raw image
	cp image copy
	sync image copy full.raw
}

# Reads of VHDX beside those of raw, which has no tables, by the time of a processor: other load does not change it much. Of a
# new copy each time, since where a file's pages happen to lie in memory is worth 5 %.
per_cpu_second() { sed 's/.*"cpuSeconds": \([0-9.]*\).*/\1/' | awk '{ printf "%.1f\n", 16000 / $1 }'; }
read_copy() { # FORMAT DEPTH
	$fh convert -q -f raw -t "$1" --force full.raw new
	$fh bench -f "$1" --depth "$2" --pattern stride --stride $scattered --count 16000 new | per_cpu_second
}
reads_beside_raw() {
	local depth rounds=$((rounds * 2))
	for depth in 1 16; do
		row "vhdx-dynamic.read-depth-${depth}_IOPS" freehold "read_copy vhdx $depth" raw "read_copy raw $depth"
	done
}

# What depends on the processor most comes first.
: >"$log"
head -c "${mb}M" /dev/urandom >full.raw
for k in raw vhd-fixed vhd-dynamic vhdx-fixed vhdx-dynamic; do
	image $k
	requests $k
done
reads_beside_raw
for k in vhd-dynamic vhdx-dynamic; do
	flushes $k
	allocation $k
done
row vhdx-dynamic.copy_s freehold "seconds $fh convert -q -f raw -t vhdx full.raw new" cp "seconds cp full.raw new"
merge
for k in raw vhd-fixed vhd-dynamic vhdx-fixed vhdx-dynamic; do
	image $k
	creation $k
	conversion $k
	flushed_writes $k
done
