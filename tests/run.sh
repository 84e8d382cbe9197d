#!/bin/bash
# tests/run.sh - runs the parts of parts.txt one after the other and tells what came of each: `make test`.
#
# A part's last line "NAME: N passed, N failed[, N skipped]" is counted; one without such a line counts as
# one test. Skips are named by their part ("SKIP ..." lines) and shown again at the end. Ends with the line
# "N passed, N failed, N skipped"; exit status 1 when something failed or a part took more than its share.
set -u
cd "$(dirname "$0")/.."
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 summary=
began=$SECONDS

# count WORD FILE: the number before WORD in the part's closing line; empty if there is none.
count() {
	grep -E '^[a-z-]+: [0-9]+ passed, [0-9]+ failed' "$2" | tail -n 1 | grep -oE "[0-9]+ $1" | cut -d' ' -f1
}

part() { # NAME SHARE COMMAND...
	local name=$1 share=$2 log=$logs/$1.log from=$SECONDS rc p f s took
	shift 2
	echo "=== $name: $*"
	"$@" >"$log" 2>&1
	rc=$?
	took=$((SECONDS - from))
	p=$(count passed "$log") f=$(count failed "$log") s=$(count skipped "$log")
	if [ -z "$p" ]; then
		p=$((rc == 0)) f=$((rc != 0))
	elif [ $rc -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
	fi
	if [ $rc -ne 0 ]; then
		grep -v '^cc \|^clang \|^gcc ' "$log" | tail -n 150
		echo "--- $name failed (exit status $rc); the whole of it: $log"
	else
		grep -E ' passed, |^SKIP|^NOT MET|AGAIN' "$log"
	fi
	if [ "$took" -gt "$share" ]; then
		echo "--- $name took $took s, its share is $share s: make it faster or move tests to the long suite"
		f=$((f + 1))
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
	summary+=$(printf '%-9s %4d s of %4d   %d passed, %d failed, %d skipped' "$name" "$took" "$share" "$p" "$f" "${s:-0}")$'\n'
}

while read -r name share command; do
	case $name in '' | '#'*) continue ;; esac
	[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
	# shellcheck disable=SC2086 # the command is words
	part "$name" "$share" $command </dev/null
done <tests/parts.txt

echo
printf '%s' "$summary"
echo "all in $((SECONDS - began)) s"
grep -h '^SKIP' "$logs"/*.log 2>/dev/null | sort -u
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
