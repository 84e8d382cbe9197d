#!/bin/sh
# tests/unit/run.sh PROGRAM... - runs cmocka test programs; shows what a failing one printed; ends with the
# line "units: N passed, N failed".
set -u
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for program in "$@"; do
	if "$program" >"$log" 2>&1; then
		ran=$(grep -c '^\[       OK \]' "$log")
		passed=$((passed + ran))
		[ "$ran" -gt 0 ] || { echo "$program: ran no test"; failed=$((failed + 1)); }
	else
		# A crash fails the test it was in, even when cmocka had no time to say so.
		passed=$((passed + $(grep -c '^\[       OK \]' "$log")))
		n=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
		failed=$((failed + (n > 0 ? n : 1)))
		echo "--- $program"
		grep -v -e '^\[ RUN ' -e '^\[       OK ' "$log"
	fi
done
echo "units: $passed passed, $failed failed"
[ $failed -eq 0 ]
