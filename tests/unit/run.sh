#!/bin/sh
# tests/unit/run.sh PROGRAM... - runs cmocka test programs, two at a time; shows what a failing one printed; ends
# with the line "units: N passed, N failed".
set -u
passed=0 failed=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' "$@" | LOGS=$logs xargs -P 2 -I PROGRAM sh -c '"$1" >"$LOGS/${1##*/}" 2>&1 && : >"$LOGS/${1##*/}.ok"' sh PROGRAM
for program in "$@"; do
	log=$logs/${program##*/}
	ran=$(grep -c '^\[       OK \]' "$log")
	passed=$((passed + ran))
	if [ -e "$log.ok" ]; then
		[ "$ran" -gt 0 ] || { echo "$program: ran no test"; failed=$((failed + 1)); }
	else
		# A crash fails the test it was in, even when cmocka had no time to say so.
		n=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
		failed=$((failed + (n > 0 ? n : 1)))
		echo "--- $program"
		grep -v -e '^\[ RUN ' -e '^\[       OK ' "$log"
	fi
done
echo "units: $passed passed, $failed failed"
[ $failed -eq 0 ]
