#!/bin/bash
# kernels.sh DEST - fetches the packages of kernels.txt and unpacks of them what the lab needs:
#
#   DEST/NAME/vmlinuz, version, lib/modules/VERSION/   (only the modules of modules.txt, uncompressed)
#   DEST/NAME/PATH                                     (of other packages, the files that kernels.txt names)
#
# What is there already stays; a change of kernels.txt or modules.txt unpacks anew.
set -eu
. "$(dirname "$0")/lib.sh"
dest=$1
mkdir -p "$dest"

unpack_kernel() {
	local name=$1 deb=$2 out=$3 all=$3/all v f
	mkdir -p "$all"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$all" --wildcards './boot/vmlinuz-*' '*/modules/*'
	v=$(basename "$all"/boot/vmlinuz-*)
	v=${v#vmlinuz-}
	echo "$v" >"$out/version"
	cp "$all/boot/vmlinuz-$v" "$out/vmlinuz"
	mkdir -p "$out/lib/modules/$v" "$out/usr"
	ln -s ../lib "$out/usr/lib" # where depmod of some releases looks
	# shellcheck disable=SC2046
	closure "$all" $(modules_for l1 guest "$name") | while read -r f; do
		cp "$f" "$out/lib/modules/$v/"
	done
	find "$out/lib" -name '*.xz' -exec xz -d {} +
	find "$out/lib" -name '*.zst' -exec zstd -q -d --rm {} +
	find "$all" \( -name 'modules.order' -o -name 'modules.builtin*' \) -exec cp {} "$out/lib/modules/$v/" \;
	depmod -b "$out" "$v"
	(cd "$out/lib/modules/$v" && find . -name 'modules.*' ! -name modules.dep ! -name modules.alias ! -name modules.builtin -delete)
	rm -rf "$all" "$out/usr"
}

unpack() {
	local name=$1 deb=$2 made=$3 tmp
	shift 3
	tmp=$(mktemp -d "$dest/.new.XXXXXX")
	case $deb in
	*linux-image*) unpack_kernel "$name" "$deb" "$tmp" ;;
	*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tmp" --wildcards "$@" ;;
	esac
	echo "$made" >"$tmp/made-of"
	rm -rf "${dest:?}/$name"
	mv "$tmp" "$dest/$name"
}

exec 8>"$dest/.lock"
flock 8
rm -rf "$dest"/.new.*
rows kernels.txt | while read -r name suite arch package files; do
	deb=$("$top/packages.sh" fetch "${FREEHOLD_CACHE:-$top/.cache}/debs" "$suite" "$arch" "$package" 8>&-)
	made=$(basename "$deb"; if [ -n "$files" ]; then echo "$files"; else modules_for l1 guest "$name"; fi)
	read -ra files <<<"$files"
	[ "$(cat "$dest/$name/made-of" 2>/dev/null)" = "$made" ] || unpack "$name" "$deb" "$made" "${files[@]}"
done
