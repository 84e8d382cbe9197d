#!/bin/bash
# report.sh TEST... - from the logs of run.sh: the table, then a verdict on every row of budgets.txt.
#
# The last column of the table is ours by the best of the others. Behind a median: '=' where all runs were equal,
# else how far apart they were. Ends with "bench: N passed, N failed", and how many were skipped; exit status 1 when something failed.
# With RECORD=1 the record of this combination of kernels, QEMU and compiler is written anew for these tests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
kernels=${FREEHOLD_CACHE:-$top/.cache}/lab
out=${BUILD:-$top/build}/bench
version() { cat "$kernels/$1/version" 2>/dev/null || echo none; }
key=guest-$(version "${BENCH_GUEST:-cloud-6.1}")_l1-$(version "${BENCH_L1:-cloud-6.12}")
key+=_qemu-$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p')
key+=_$(basename "${CC:-cc}")-$("${CC:-cc}" -dumpfullversion 2>/dev/null || "${CC:-cc}" -dumpversion)
key=${key/_cc-/_gcc-}
record=$here/records/$key.txt
logs=()
for test in "$@"; do logs+=("$out/$test.log"); done

if [ " $* " = " profile " ]; then
	tr -d '\r' <"${logs[0]}" | awk '$1 == "P" && $4 >= 5 { $1 = ""; print }' | sort -k1,1 -k2,2 -k3,3nr
	exit
fi

# Medians: "TEST FIGURE MONITOR MEDIAN SPREAD", in the order of the logs. And what went wrong.
tr -d '\r' <<<"$(cat "${logs[@]}")" | awk '
	$1 == "R" && NF == 5 {
		k = $3 " " $4 " " $2
		v[k, ++n[k]] = $5 + 0
		if (n[k] == 1) key[++keys] = k
	}
	END {
		for (i = 1; i <= keys; i++) {
			k = key[i]
			for (j = 2; j <= n[k]; j++)
				for (m = j; m > 1 && v[k, m] < v[k, m - 1]; m--) { t = v[k, m]; v[k, m] = v[k, m - 1]; v[k, m - 1] = t }
			lo = v[k, 1]; hi = v[k, n[k]]; mid = v[k, int((n[k] + 1) / 2)]
			print k, mid, lo == hi ? "=" : sprintf("~%.1f%%", (hi - lo) * 100 / (mid ? mid : 1))
		}
	}' >"$out/medians"
tr -d '\r' <<<"$(cat "${logs[@]}")" | grep -E '^(X|E|AGAIN) ' | sort | uniq -c | sort -rn | head -n 40 >"$out/troubles" || true

awk '
	function label(f) {
		if (!match(f, /0x[0-9a-f]+$/)) return f
		f = substr(f, RSTART)
		return "exits: " (f in name ? name[f] : f)
	}
	BEGIN {
		name["0x60"] = "interrupt"; name["0x64"] = "interrupt window"; name["0x72"] = "CPUID"; name["0x78"] = "HLT"
		name["0x7b"] = "port I/O"; name["0x7c"] = "MSR"; name["0x400"] = "nested page fault"; name["0x14"] = "CR4"
		name["0x10"] = "write CR0"; name["0x65"] = "CR0 bits"; name["0x89"] = "WBINVD"; name["0x81"] = "VMMCALL"
	}
	!($3 in seen) { seen[$3] = 1; vmm[++vmms] = $3 }
	{ ran[$1, $3] = 1 }
	!($1 in tests) { tests[$1] = 1; test[++nt] = $1 }
	!(($1, $2) in row) { row[$1, $2] = 1; fig[$1, ++rows[$1]] = $2 }
	{ mid[$1, $2, $3] = $4; spread[$1, $2, $3] = $5 }
	END {
		for (t = 1; t <= nt; t++) {
			printf "\n%-28s", test[t]
			for (i = 1; i <= vmms; i++) if ((test[t], vmm[i]) in ran) printf " %18s", vmm[i]
			print (seen["freehold"] ? "     ours:best" : "")
			for (r = 1; r <= rows[test[t]]; r++) {
				f = fig[test[t], r]; best = ""
				if (f ~ /_x$/) continue # what the last column says
				printf "%-28s", label(f)
				for (i = 1; i <= vmms; i++) {
					k = test[t] SUBSEP f SUBSEP vmm[i]
					if (!((test[t], vmm[i]) in ran)) continue
					printf " %18s", k in mid ? sprintf("%.6g %s", mid[k], spread[k]) : "-"
					if (vmm[i] == "freehold" || !(k in mid)) continue
					if (best == "" || (f ~ /_MBps$|_IOPS$|_x$/ ? mid[k] > best : mid[k] < best)) best = mid[k]
				}
				k = test[t] SUBSEP f SUBSEP "freehold"
				print (k in mid && best > 0 ? sprintf("  x%.2f", mid[k] / best) : "")
			}
		}
	}' "$out/medians"

echo
echo "Kernels, QEMU and compiler: $key"
if [ ! -e "$record" ]; then
	echo "No record for these: only budgets count (make bench RECORD=1 keeps today's figures)."
	record=/dev/null
fi
sed 's/^ *[0-9]* /trouble: /' "$out/troubles"
busy=$(tr -d '\r' <<<"$(cat "${logs[@]}")" | awk '$1 == "B" { printf " %s.%s", $3, $4 } END { print " " }')
rc=0
awk -v tests=" $* " -v renew="${RECORD:-}" -v busy="$busy" -v troubles="$(grep -c ' X ' "$out/troubles" || true)" '
	function bad(text) { print "FAIL " text; failed++; ok = 0 }
	/^#/ || !NF { next }
	FILENAME == ARGV[1] { value[$1, $2, $3] = $4; next }
	FILENAME == ARGV[2] && FILENAME != "/dev/null" { record[$1, $2] = $3; next }
	index(tests, " " $1 " ") {
		f = $1 "." $2; k = $1 SUBSEP $2; budget = $4; worst = $6; slack = 1 + $7 / 100; ok = 1
		known = k in record && !renew && $7 != "-"
		note = $0; for (i = 0; i < 7; i++) sub(/^[^ \t]+[ \t]+/, "", note)
		if (!(($1, $2, $3) in value)) { bad(f ": not measured"); next }
		v = value[$1, $2, $3] + 0
		said = f " " v " " $5 (budget == "-" ? "" : ", budget " budget) (k in record ? ", record " record[k] : "")
		more = $2 ~ /_MBps$|_IOPS$|_x$/ # the more the better: a budget is the least
		if (budget != "-" && (more ? v < budget : v > budget) && index(busy, " " f " ")) {
			print "SKIP " said ": the computer is too busy to tell"
			skipped++
			next
		}
		if (budget != "-" && (more ? v < budget : v > budget)) {
			if (worst == "-") bad(said ": over its budget")
			else print "NOT MET " said ": " note
			if (worst != "-" && !known && !renew && (more ? v * slack < worst : v > worst * slack)) bad(said ": worse than " worst)
		} else if (worst != "-" && budget != "-") {
			print "MET NOW " said ": take the mark out of budgets.txt"
		}
		if (ok && known && (more ? v * slack < record[k] : v > record[k] * slack + 1e-9)) bad(said ": more than " $7 " % worse than its record")
		if (ok) { passed++; if (budget == "-" || (more ? v >= budget : v <= budget)) print "ok   " said }
		if (k in record && (more ? v > record[k] * slack : v * slack < record[k])) print "     better than its record by more than " $7 " %: make bench RECORD=1 keeps it"
	}
	END {
		if (troubles > 0) { print "FAIL a monitor or the machine had trouble, see above"; failed++ } else passed++
		printf "bench: %d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
		exit failed > 0
	}' "$out/medians" "$record" "$here/budgets.txt" >"$out/verdict" || rc=1

if [ -n "${RECORD:-}" ]; then
	record=$here/records/$key.txt
	mkdir -p "$here/records"
	{
		echo "# Medians of fh-worker with these kernels, this QEMU and this compiler; written by make bench RECORD=1."
		{
			awk -v tests=" $* " '/^[^#]/ && NF && !index(tests, " " $1 " ")' "$record" 2>/dev/null || true
			awk 'NR == FNR { v[$1, $2, $3] = $4; next }
				/^[^#]/ && NF && $7 != "-" && ($1, $2, $3) in v { print $1, $2, v[$1, $2, $3] }' "$out/medians" "$here/budgets.txt"
		} | LC_ALL=C sort
	} >"$record.new"
	mv "$record.new" "$record"
	echo "Recorded: ${record#"$top/"}"
fi
cat "$out/verdict"
exit $rc
