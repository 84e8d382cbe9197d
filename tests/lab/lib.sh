# lib.sh - what the lab's scripts share: reading its tables, choosing kernel modules. Sourced by bash.
# shellcheck shell=bash
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034
top=$(cd "$lab/../.." && pwd)

# The rows of a table: comments and empty lines dropped.
rows() {
	sed 's/#.*//' "$lab/$1" | awk 'NF'
}

# modules_for WHO...: the modules that modules.txt gives them.
modules_for() {
	rows modules.txt | awk -v who=" $* " 'index(who, " " $1 " ") { print $2 }'
}

# closure TREE MODULE...: the files of these modules and of what they need, below TREE.
closure() {
	local tree=$1 todo m f
	shift
	declare -A file=() seen=()
	while read -r f; do
		m=${f##*/}
		m=${m%%.ko*}
		file[${m//-/_}]=$f
	done < <(find "$tree" -name '*.ko*')
	todo=("$@")
	while [ ${#todo[@]} -gt 0 ]; do
		m=${todo[0]//-/_}
		todo=("${todo[@]:1}")
		[ -z "${seen[$m]:-}" ] && [ -n "${file[$m]:-}" ] || continue
		seen[$m]=1
		echo "${file[$m]}"
		# shellcheck disable=SC2207
		todo+=($(modinfo -F depends "${file[$m]}" | tr , ' ') $(modinfo -F softdep "${file[$m]}" | sed -n 's/pre: //p'))
	done
}

# archive DIR: DIR as an uncompressed initramfs on standard output; equal input gives equal bytes.
# Uncompressed, because the emulated machine copies faster than it decompresses.
archive() {
	(cd "$1" && find . -mindepth 1 -exec touch -h -d @0 {} + && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0 --reproducible)
}
