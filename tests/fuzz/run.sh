#!/bin/sh
# tests/fuzz/run.sh BUILD [NAME] [SECONDS] - runs the fuzz targets of targets.txt, two at a time ($J), and
# tells for each what came of it. `make fuzz` builds them and calls this. Exits 1 if one failed.
#
# A target's scratch corpus begins as a copy of its kept one. With SECONDS, for a long search, it is kept from
# run to run and every search is another one; without, every run is the same. What breaks a target is saved
# in BUILD/crash/NAME/.
set -u
here=$(dirname "$0")
table=$here/targets.txt

rows() # NAME or "": the rows of the table, without comments
{
	sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$table" | awk -v n="$1" 'n == "" || $1 == n'
}

complain()
{
	echo "fuzz: $*" >&2
	bad=1
}

check_rows() # what does not fit together is named, all of it, before anything runs
{
	bad=0
	names=$(rows "$only" | awk '{ print $1 }')
	[ -n "$names" ] || complain "$table has no row for '$only'"
	for name in $names; do
		[ -f "$here/${name}_fuzz.c" ] || complain "$name: $here/${name}_fuzz.c does not exist"
		[ -d "$here/corpus/$name" ] || complain "$name: $here/corpus/$name/ does not exist"
	done
	for name in $(echo "$names" | sort | uniq -d); do
		complain "$name: more than one row in $table"
	done
	for src in "$here"/*_fuzz.c; do
		name=$(basename "$src" _fuzz.c)
		[ -n "$only" ] || [ -n "$(rows "$name")" ] || complain "$src: no row in $table"
	done
	return $bad
}

# On a loaded machine of two cores an input may wait long for its turn: 10 s tell a hang from that.
# A small quarantine keeps address sanitizer within the memory limit, and in the cache.
run_one() # NAME RUNS LENGTH: leaves a log and a line of results
{
	prog=$build/tests/fuzz/$1_fuzz log=$build/log/$1.log
	corpus=$build/corpus/$1 crash=$build/crash/$1
	runs=$2
	[ "$runs" != - ] || runs=250000
	[ -n "$seconds" ] || rm -rf "$corpus"
	rm -rf "$crash"
	mkdir -p "$corpus" "$crash" "$build/log" "$build/result"
	cp "$here/corpus/$1"/* "$corpus"
	set -- "$1" -max_len="$3" -timeout=10 -rss_limit_mb=512 -print_final_stats=1
	if [ -n "$seconds" ]; then set -- "$@" -max_total_time="$seconds"; else set -- "$@" -runs="$runs" -seed=1; fi
	[ ! -f "$here/$1.dict" ] || set -- "$@" -dict="$here/$1.dict"
	name=$1
	shift
	begin=$(date +%s)
	ASAN_OPTIONS=quarantine_size_mb=4 UBSAN_OPTIONS=print_stacktrace=1 \
		timeout -k 5 $((${seconds:-600} + 300)) \
		"$prog" "$@" -artifact_prefix="$crash/" "$corpus" >"$log" 2>&1
	status=$?
	took=$(($(date +%s) - begin))
	did=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	verdict=ok
	[ $status -eq 0 ] || verdict=FAILED
	echo "$name $verdict ${did:-0} $took ${cov:-0}" >"$build/result/$name"
	[ $status -eq 0 ] || echo "$name: FAILED" # at once; the rest is told at the end
}

tell_failure() # NAME
{
	grep -e ERROR: -e 'runtime error' -e SUMMARY: "$build/log/$1.log" | tail -n 5 | sed 's/^/    /'
	echo "    log:       $build/log/$1.log"
	for input in "$build/crash/$1"/*; do
		[ ! -f "$input" ] || echo "    reproduce: $build/tests/fuzz/$1_fuzz $input"
	done
}

tell_results()
{
	passed=0 failed=0
	for name in $names; do
		read -r _ verdict did took cov <"$build/result/$name" || verdict=FAILED
		printf '%-12s %-6s %9s runs %4s s  coverage %s\n' "$name" "$verdict" "$did" "$took" "$cov"
		if [ "$verdict" = ok ]; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			tell_failure "$name"
		fi
	done
	echo "fuzz: $passed passed, $failed failed"
	[ $failed -eq 0 ]
}

if [ "$1" = --one ]; then
	build=$2 seconds=$3
	shift 3
	run_one "$@"
	exit 0
fi
build=$1 only=${2:-} seconds=${3:-}
check_rows || exit 1
rm -rf "$build/result"
rows "$only" | awk '{ print $1, $2, $3 }' | xargs -P "${J:-2}" -L 1 "$0" --one "$build" "$seconds"
tell_results
