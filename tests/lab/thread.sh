#!/bin/bash
# thread.sh [TEST] - one thread through the whole product: from the ISO to a guest that menu, script and remote calls start.
#
# The appliance is installed silently (BIOS) and driven on its serial line as an administrator would; this machine is the
# "other machine", which reaches it only over TLS. One step builds on the one before: the first that fails ends it.
# TEST is one of install.sh: the other ways to the menu (by hand, UEFI) are rows "thread-TEST" of scenarios.txt.
#
# ISO=FILE for another one than build/image/freehold.iso; PORT (18443) on this machine's loopback.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ $# = 0 ] || exec tests/lab/install.sh "$@"
. tests/lab/appliance.sh
build=${BUILD:-build}
iso=${ISO:-$build/image/freehold.iso}
port=${PORT:-18443}
w=$appliance_work
secret=appliance-lab
at=127.0.0.1:$port

# --- what steps are made of ----------------------------------------------------------------------------

# answers TEXT: a FAT image with that answer file.
answers() {
	rm -f "$w/answers.img"
	mkfs.fat -C -n FREEHOLD-AN "$w/answers.img" 2048 >/dev/null
	printf '%s\n' "$1" >"$w/answers.json"
	mcopy -i "$w/answers.img" "$w/answers.json" ::answers.json
}

start() {
	machine_start host --memory 1536 --disk "$w/disk.raw,serial=LAB00001" --forward "$port:8443"
}

# From the log-in prompt to the menu.
login() {
	machine_wait host 'login:' 150 && machine_keys host root Enter &&
		machine_wait host 'assword:' 30 && machine_type host "$secret" && machine_keys host Enter &&
		machine_wait host 'Enter number to select an option' 60 && menu_at=$EPOCHREALTIME
}

# Seconds from the start of the kernel to $menu_at, in $kernel_to_menu: by the clock that the kernel begins with.
measure_start() {
	local up now
	menu 15 'fhsh>' && machine_type host 'print("up " .. io.open("/proc/uptime"):read())' && machine_keys host Enter &&
		machine_wait host '^up [0-9.]+ ' 30 || return 1
	now=$EPOCHREALTIME
	up=$(machine_screen host | sed -n 's/^up \([0-9.]*\) .*/\1/p' | tail -n 1)
	kernel_to_menu=$(awk -v up="$up" -v now="$now" -v at="$menu_at" 'BEGIN { printf "%.1f", up - (now - at) }')
	machine_type host 'exit'
	machine_keys host Enter
}

# menu NUMBER REGEX: from the main menu to a page.
menu() {
	machine_wait host 'Enter number to select an option' 30 && machine_type host "$1" && machine_keys host Enter &&
		machine_wait host "$2" 30
}

# Back to the main menu, with a pause, so that an escape is not taken for the begin of a key.
back() {
	machine_keys host Escape
	sleep 1
}

# field TEXT: what stands in the field that has the focus is replaced.
field() {
	machine_keys host C-u
	machine_type host "$1"
	machine_keys host Tab
}

# The shell from another machine. It meets the host by the fingerprint that its menu shows.
remote() {
	FREEHOLD_KNOWN_HOSTS=$w/known_hosts FREEHOLD_TOKEN=$token timeout "${limit:-60}" "$build/bin/fhsh" -H "$at" "$@"
}

# post TOKEN METHOD PARAMS: one call by curl, which trusts the certificate that has that fingerprint and no other. The
# token may be empty.
post() {
	curl -sS --max-time 60 --tlsv1.3 --cacert "$w/cert.pem" -4 \
		${1:+-H "Authorization: Bearer $1"} -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$2\",\"params\":$3}" "https://localhost:$port/rpc/v1"
}

# member NAME: the first text of that name in an answer.
member() {
	grep -oE "\"$1\": *\"[^\"]+\"" | head -n 1 | cut -d '"' -f 4
}

state() {
	remote --json -c 'vm get web1' | member state
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 1
	done
}

is() {
	[ "$(state)" = "$1" ]
}

# --- the steps --------------------------------------------------------------------------------------------

step_installs_silently() {
	answers "{ \"disk\": { \"serial\": \"LAB*\" }, \"password\": \"$secret\", \"name\": \"silent1\", \"finish\": \"powerOff\" }"
	truncate -s 4G "$w/disk.raw"
	machine_start host --iso "$iso" --disk "$w/disk.raw,serial=LAB00001" --drive "$w/answers.img" && machine_ended host 400
}

step_boots_to_its_menu_on_the_serial_line() {
	start && login && machine_wait host 'silent1' 10 && eventually 60 menu_has_address
}

# The target is 20 s on an idle machine; this one may have other work.
step_menu_comes_soon_after_the_kernel_starts() {
	measure_start || return 1
	figure="$kernel_to_menu s from the kernel's start to the menu, the log-in typed included (target: 20 on an idle machine)"
	echo "$figure"
	awk -v s="$kernel_to_menu" 'BEGIN { exit s > 0 && s <= 40 ? 0 : 1 }'
}

menu_has_address() {
	machine_screen host | grep -q '10\.0\.2\.15'
}

step_name_is_changed_in_the_menu() {
	menu 2 'Computer name' && field alpha1 && machine_keys host Enter && machine_wait host 'What will be' 30 &&
		machine_keys host Enter && machine_wait host 'alpha1' 30 || return 1
	back
	machine_wait host 'Computer name: *alpha1' 30
}

step_address_is_changed_in_the_menu() {
	menu 8 'Network settings' && set_address && machine_wait host 'What will be' 30 && machine_keys host Enter || return 1
	sleep 3
	back
	back
	machine_wait host 'Network settings: *10\.0\.2\.15' 30
}

# The page: adapter, DHCP, address, gateway, DNS.
set_address() {
	machine_wait host 'DHCP' 20 || return 1
	machine_keys host Tab
	machine_keys host n
	machine_keys host Tab
	field 10.0.2.15/24
	field 10.0.2.2
	field 10.0.2.3
	machine_keys host Enter
}

step_menu_tells_how_to_reach_it() {
	local seen
	menu 0 'Fingerprint' || return 1
	fingerprint=$(machine_screen host | sed -n '/Fingerprint/,/Network/p' | grep -v Network | grep -oiE '[0-9a-f:]+ *$' | tr -d ' \n' | tr a-f A-F)
	back
	openssl s_client -connect "$at" </dev/null 2>/dev/null | openssl x509 >"$w/cert.pem"
	seen=$(openssl x509 -in "$w/cert.pem" -noout -fingerprint -sha256 | cut -d = -f 2)
	[ "$fingerprint" = "$seen" ] || { echo "the menu says $fingerprint, the host is $seen" && return 1; }
	echo "$at SHA256:$seen" >"$w/known_hosts"
}

step_other_machine_logs_in_over_tls() {
	local session
	session=$(post '' session.login "{\"user\":\"root\",\"password\":\"$secret\"}" | member token)
	token=$(post "$session" token.create '{"name":"lab"}' | member token) # one that outlives sessions
	[ -n "$token" ] && remote -c 'host get' | grep -q alpha1
}

step_other_machine_brings_a_kernel() {
	cpio --quiet -i -D "$w" <"$build/lab/guest-cloud-6.12.cpio"
	limit=240 remote -c "file upload $w/guests/cloud-6.12/vmlinuz images/vmlinuz" &&
		limit=240 remote -c "file upload $w/guests/cloud-6.12/initrd images/initrd" && remote -c 'file list' | grep -q initrd
}

step_guest_is_made_in_the_menu() {
	menu 16 'Virtual machines' && machine_keys host n && machine_wait host 'New virtual machine' 20 || return 1
	field web1
	field 256
	machine_keys host Tab # processors: 1
	choose vmlinuz && choose initrd || return 1
	field 'console=ttyS0 panic=-1 fh.do=storage,report,tick'
	machine_keys host Tab Tab Tab Enter # over both actions and the notes to the button
	machine_wait host 'What will be' 30 && machine_keys host Enter && machine_wait host 'web1 *Off' 30
}

# choose NAME: opens the list of the field with the focus and takes what has that name; the next field then has the focus.
choose() {
	machine_keys host Space
	machine_wait host "$1" 20 || return 1
	machine_type host "$1"
	machine_keys host Enter
	sleep 1
}

step_guest_is_started_in_the_menu() {
	machine_keys host s && machine_wait host 'web1 *Running' 90
}

step_menu_shows_its_console() {
	machine_keys host c && machine_wait host 'FH-TICK|FH-CLOCK' 120 || return 1
	machine_keys host 'C-]'
	machine_wait host 'web1 *Running' 30 || return 1
	back
}

step_lua_script_stops_it() {
	cat >"$w/stop.lua" <<-'LUA'
		for v in vms{state="Running"} do
			local asked, why = pcall(function() v:stop{timeout = 2} end)
			print(v.name, asked, v.state, why)
			v:stop{timeout = 2, force = true}
			print(v.name, v.state)
		end
	LUA
	# Its guest knows no shutdown: asked, it goes on, and whoever asked is told so.
	remote "$w/stop.lua" >"$w/stopped" && grep -q "web1.*false.*Running.*did not shut down" "$w/stopped" &&
		grep -q "web1.*Off" "$w/stopped" && is Off
}

step_other_machine_starts_it_by_fhsh() {
	remote -c 'vm start web1' && is Running && remote -c 'vm stop web1 mode=turnOff' && is Off
}

step_other_machine_starts_it_by_curl() {
	local answer
	answer=$(post "$token" vm.start '{"vm":"web1"}')
	echo "$answer" | grep -q '"changed": *true' && is Running && post "$token" vm.start '{"vm":"web1"}' | grep -q '"changed": *false'
}

# The guest has its drivers (fh.do=storage): its kernel says on the console what has come.
step_running_guest_gets_a_disk_from_the_menu() {
	menu 16 'web1 *Running' && machine_keys host i && machine_wait host 'has no disk yet' 20 && machine_keys host n &&
		machine_wait host 'New disk' 20 || return 1
	field 64M
	machine_keys host Tab Tab Tab Tab Enter # over name, room, format and type to the button
	machine_wait host 'What will be' 30 && machine_keys host Enter && machine_wait host '0:0 *VHDX *64' 30 || return 1
	back
	machine_keys host c && machine_wait host 'sda. Attached SCSI disk' 60 || return 1
	machine_keys host 'C-]'
	machine_wait host 'web1 *Running' 30 || return 1
	back
	eventually 20 guest_has_read_its_disk
}

guest_has_read_its_disk() {
	remote --json -c 'disk list web1' | tr -d '\n ' | grep -qE '"reads":[1-9]'
}

# What is written goes to the child, then the worker merges it: the guest sees nothing of either.
step_running_guest_gets_a_child_and_it_is_merged() {
	remote -c 'disk branch web1 0 name=child' && disk_is child.vhdx || return 1
	remote --yes -c 'disk merge web1 0 delete=true' && disk_is disk0.vhdx && is Running && ! remote -c 'vhd get vm=web1 ./disks/child.vhdx'
}

# disk_is NAME: of the machine's only disk, that the guest has met no error on.
disk_is() {
	remote --json -c 'disk list web1' | tr -d '\n ' >"$w/disks" && cat "$w/disks" &&
		grep -q "\"path\":\"./disks/$1\"" "$w/disks" && grep -q '"errors":0[,}]' "$w/disks" && grep -q '"problem":""' "$w/disks"
}

step_viewer_is_refused_and_audited() {
	local viewer answer
	remote -c 'user create anna password=viewer-pass-1 role=viewer' || return 1
	answer=$(post '' session.login '{"user":"anna","password":"viewer-pass-1"}')
	echo "$answer"
	viewer=$(echo "$answer" | member token)
	post "$viewer" vm.list '{}' | tee "$w/list" | grep -q web1 || { cat "$w/list" && return 1; }
	answer=$(post "$viewer" vm.stop '{"vm":"web1","mode":"turnOff"}')
	echo "$answer"
	echo "$answer" | grep -q FORBIDDEN && is Running || return 1
	remote --json -c 'audit list' >"$w/audit" || return 1
	cat "$w/audit"
	tr -d '\n' <"$w/audit" | grep -oE '\{[^{}]*\{?[^{}]*vm\.stop[^{}]*' | grep -q anna
}

step_killed_agent_finds_its_guest_again() {
	local before after
	before=$(remote --json -c 'vm get web1' | tr -d '\n ' | grep -oE '"uptime":[0-9]+' | cut -d : -f 2)
	menu 15 'fhsh>' && machine_type host 'os.execute("killall -9 fh-agent")' && machine_keys host Enter || return 1
	sleep 2
	eventually 60 is Running || return 1
	after=$(remote --json -c 'vm get web1' | tr -d '\n ' | grep -oE '"uptime":[0-9]+' | cut -d : -f 2)
	[ "${after:-0}" -gt "${before:-0}" ] || { echo "up for $before s, then $after s" && return 1; }
	machine_type host 'exit'
	machine_keys host Enter
}

step_host_restarts_and_the_guest_starts_by_itself() {
	remote -c 'vm set web1 automaticStart=Start automaticStop=TurnOff' || return 1
	menu 13 'Running machines *web1' && machine_keys host C-p Enter && machine_wait host 'restart now' 30 &&
		machine_keys host r && machine_wait host 'login:' 240 || return 1
	eventually 90 is Running && eventually 90 guest_has_read_its_disk
}

# What the agent said while it went down is on the disk, in this order, and the disk was left clean.
step_power_button_ends_the_guest_and_the_host() {
	remote -c 'vm set web1 automaticStart=Start automaticStop=TurnOff' && is Running || return 1
	machine_power_button host && machine_ended host 120 || return 1
	start && login && menu 15 'fhsh>' || return 1
	machine_type host 'for l in io.lines("/data/log/fh-agent/current") do l = l:match("the host goes down:.*") or l:match("web1: Off.*goes down") if l then print("> " .. l) end end'
	machine_keys host Enter
	sleep 2
	machine_screen host | grep '^> ' | tail -n 2 >"$w/last"
	cat "$w/last"
	machine_type host 'print("fsck: " .. io.open("/run/freehold/fsck.log"):read("a"))'
	machine_keys host Enter
	machine_wait host 'fsck:.*clean' 10 && ! machine_screen host | grep -q 'recovering' || return 1
	machine_type host 'exit'
	machine_keys host Enter
	head -n 1 "$w/last" | grep -q 'goes down' && tail -n 1 "$w/last" | grep -q 'web1: Off' && eventually 90 is Running
}

step_other_machine_shuts_it_down() {
	remote --yes -c 'host shutdown' && machine_ended host 120
}

# --- one after the other ---------------------------------------------------------------------------------------

for s in $(sed -n 's/^\(step_[a-z_]*\)() {$/\1/p' tests/lab/thread.sh); do
	began=$SECONDS
	if "$s" >"$w/said" 2>&1; then
		echo "PASS thread: ${s#step_} ($((SECONDS - began)) s)" | tr _ ' '
		[ -z "${figure:-}" ] || echo "  $figure"
		figure=
		continue
	fi
	echo "FAIL thread: ${s#step_} ($((SECONDS - began)) s)" | tr _ ' '
	cat "$w/said"
	[ -z "${machine_pid[host]:-}" ] || machine_screen host | sed 's/^/| /'
	exit 1
done
