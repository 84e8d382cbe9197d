#!/bin/sh
# tests/crash/run.sh BUILD [NAME] - runs the targets of targets.txt, two at a time, and tells what came of each:
# `make crash`. A target's last line is "NAME: N passed, N failed".
set -u
build=$1 only=${2:-}
here=$(dirname "$0")
names=$(sed -e 's/#.*//' "$here/targets.txt" | awk -v n="$only" 'NF && (n == "" || $1 == n) { print $1 }')
[ -n "$names" ] || { echo "crash: no target '$only'" >&2; exit 1; }
mkdir -p "$build/log"
for name in $names; do rm -f "$build/log/$name.log"; done
# shellcheck disable=SC2016 # expanded by the inner shell
echo "$names" | xargs -P 2 -I NAME sh -c '"$1/tests/crash/NAME_crash" >"$1/log/NAME.log" 2>&1 || :' sh "$build"
passed=0 failed=0
for name in $names; do
	last=$(tail -n 1 "$build/log/$name.log")
	case $last in
	"$name: "*" passed, "*" failed")
		grep -v '^<' "$build/log/$name.log"
		;;
	*)
		last="$name: 0 passed, 1 failed"
		tail -n 60 "$build/log/$name.log"
		echo "$name: ended before its end; the whole of it: $build/log/$name.log"
		;;
	esac
	# shellcheck disable=SC2086 # words
	set -- $last
	passed=$((passed + $2)) failed=$((failed + $4))
done
echo "crash: $passed passed, $failed failed"
[ $failed -eq 0 ]
