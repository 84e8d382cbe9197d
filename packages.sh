#!/bin/bash
# packages.sh - the Debian packages that building and testing need.
#
#   packages.sh install LIST            install what is missing of LIST (packages.txt); with NO_DEPS=1 only say what
#   packages.sh mirror                  the Debian mirror in use
#   packages.sh fetch DEST SUITE ARCH PACKAGE...
#
# fetch puts packages of any suite and architecture into the folder DEST as .deb files and prints their paths, in
# the order asked. It never touches the machine's own apt or dpkg: everything happens in a private apt directory
# below .cache/ (FREEHOLD_CACHE=dir for another place). SUITE may name components: trixie/main,contrib. A kernel's
# meta package (linux-image-cloud-amd64) stands for the kernel it depends on. What is in DEST already is not
# looked up again; delete the folder for newer packages.
#
# Mirror: DEBIAN_MIRROR, or the first one in the machine's apt configuration.
set -eu
top=$(cd "$(dirname "$0")" && pwd)
cache=${FREEHOLD_CACHE:-$top/.cache}

die() {
	echo "packages.sh: $*" >&2
	exit 1
}

# --- install ---------------------------------------------------------------------------------------

missing() {
	local want
	want=$(sed 's/#.*//' "$1" | awk 'NF { print $1 }')
	# shellcheck disable=SC2086 # one word a package
	{ dpkg-query -W -f '${Package} ${db:Status-Status}\n' $want 2>/dev/null || true; } |
		awk -v want="$want" '$2 == "installed" { have[$1] = 1 }
			END { n = split(want, w, "\n"); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

install_list() {
	local need root=
	need=$(missing "$1")
	[ -n "$need" ] || return 0
	need=$(echo "$need" | xargs)
	if [ -n "${NO_DEPS:-}" ]; then
		echo "Missing Debian packages: $need" >&2
		return 1
	fi
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "run as root: apt-get install $need"
		root=sudo
	fi
	$root apt-get -q update
	# shellcheck disable=SC2086
	$root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $need
}

# --- fetch -----------------------------------------------------------------------------------------

# URI SUITE COMPONENTS of every enabled binary source of this machine, one a line for each URI and suite.
host_sources() {
	local d=/etc/apt f
	for f in $d/sources.list $d/sources.list.d/*.list; do
		[ -r "$f" ] && sed -n 's/#.*//; s/^[ \t]*deb[ \t]\+\(\[[^]]*\][ \t]*\)\?//p' "$f"
	done
	for f in $d/sources.list.d/*.sources; do
		[ -r "$f" ] && awk '
			function flush(	i, j, n, m, u, s) {
				if (types ~ /(^| )deb( |$)/ && enabled != "no") {
					n = split(uris, u, " "); m = split(suites, s, " ")
					for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) print u[i], s[j], comps
				}
				types = uris = suites = comps = enabled = key = ""
			}
			function add(v) {
				if (key == "types") types = types " " v
				else if (key == "uris") uris = uris " " v
				else if (key == "suites") suites = suites " " v
				else if (key == "components") comps = comps " " v
				else if (key == "enabled") enabled = tolower(v)
			}
			/^#/ { next }
			/^[ \t]*$/ { flush(); next }
			/^[ \t]/ { sub(/^[ \t]+/, ""); add($0); next }
			{ key = tolower($0); sub(/:.*/, "", key); sub(/^[^:]*:[ \t]*/, ""); sub(/[ \t]+$/, ""); add($0) }
			END { flush() }' "$f"
	done
	return 0
}

mirror() {
	local found
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "${DEBIAN_MIRROR%/}"
		return
	fi
	found=$(host_sources | CODE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}") awk '
		$2 == ENVIRON["CODE"] || $2 ~ /^(oldstable|stable|testing|unstable|sid|bookworm|trixie|forky)$/ {
			sub(/\/+$/, "", $1)
			for (i = 3; i <= NF; i++) if ($i == "main") { any = any ? any : $1; if ($1 ~ /debian$/ && !best) best = $1 }
		}
		END { print best ? best : any }')
	[ -n "$found" ] || die "no Debian mirror in the apt configuration: set DEBIAN_MIRROR"
	echo "$found"
}

# The private apt of one suite and architecture: sets $conf.
private_apt() {
	local suite=$1 arch=$2 comps=$3 d=$4 keys=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e $keys ] || keys=${keys%.gpg}.pgp
	[ -e $keys ] || die "install debian-archive-keyring"
	mkdir -p "$d/etc/parts" "$d/etc/preferences.d" "$d/state/lists/partial" "$d/cache/archives/partial"
	: >"$d/status"
	cat >"$d/sources.list" <<-END
	deb [signed-by=$keys arch=$arch] $(mirror) $suite ${comps//,/ }
	END
	cat >"$d/apt.conf" <<-END
	APT::Architecture "$arch";
	#clear APT::Architectures;
	APT::Architectures { "$arch"; };
	APT::Sandbox::User "$(id -un)";
	APT::Install-Recommends "false";
	Acquire::Languages "none";
	Acquire::Retries "3";
	Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
	Dir::Etc::SourceList "$d/sources.list";
	Dir::Etc::SourceParts "$d/etc/parts";
	Dir::Etc::Preferences "$d/etc/none";
	Dir::Etc::PreferencesParts "$d/etc/preferences.d";
	Dir::State "$d/state";
	Dir::State::Lists "$d/state/lists";
	Dir::State::status "$d/status";
	Dir::Cache "$d/cache";
	Dir::Cache::archives "$d/cache/archives";
	END
	export APT_CONFIG=$d/apt.conf
}

# Index files: fetched once a day at most, or when a package was not found.
update_lists() {
	local d=$1
	[ -z "${2:-}" ] && [ -n "$(find "$d/updated" -mmin -1440 2>/dev/null)" ] && return 0
	apt-get -q update >&2
	: >"$d/updated"
}

# The package that a name stands for: itself, or the kernel behind a kernel's meta package.
real_package() {
	local dep
	case $1 in
	linux-image-*)
		dep=$(apt-cache depends --no-recommends --no-suggests "$1" 2>/dev/null |
			sed -n 's/^ *|\?Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
		;;
	esac
	echo "${dep:-$1}"
}

# Downloads into a folder of its own, so that an interrupted download leaves nothing behind in DEST.
download() {
	local dest=$1 real=$2 tmp deb # $3: suite and architecture
	rm -rf "$dest/.part.$3".* # left by a killed run: this suite is locked
	tmp=$(mktemp -d "$dest/.part.$3.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" EXIT
	(cd "$tmp" && apt-get -q download "$real" >&2) || return 1
	deb=$(cd "$tmp" && ls ./*.deb)
	mv "$tmp/$deb" "$dest/"
	rm -rf "$tmp"
	trap - EXIT
	got=${deb#./}
}

# DEST/.NAME.SUITE.ARCH holds the file name that a package was fetched as.
fetch() {
	[ $# -ge 4 ] || die "usage: packages.sh fetch DEST SUITE ARCH PACKAGE..."
	local dest=$1 suite=${2%%/*} comps=main arch=$3 p d note real
	case $2 in */*) comps=${2#*/} ;; esac
	shift 3
	mkdir -p "$dest" "$cache/apt"
	d=$(cd "$cache/apt" && pwd)/$suite-$arch-${comps//,/-}
	mkdir -p "$d"
	exec 9>"$d/lock"
	flock 9
	for p in "$@"; do
		note=$dest/.$p.$suite.$arch
		if ! { [ -s "$note" ] && [ -s "$dest/$(cat "$note")" ]; }; then
			private_apt "$suite" "$arch" "$comps" "$d"
			update_lists "$d"
			real=$(real_package "$p")
			download "$dest" "$real" "$suite-$arch" || {
				update_lists "$d" again
				real=$(real_package "$p")
				download "$dest" "$real" "$suite-$arch" || die "$p: not fetched from $suite ($arch)"
			}
			echo "$got" >"$note.new"
			mv "$note.new" "$note"
		fi
		echo "$dest/$(cat "$note")"
	done
}

case ${1:-} in
install) install_list "${2:?usage: packages.sh install LIST}" ;;
mirror) mirror ;;
fetch) shift && fetch "$@" ;;
*) die "usage: packages.sh install LIST | mirror | fetch DEST SUITE ARCH PACKAGE..." ;;
esac
