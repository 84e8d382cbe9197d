#!/bin/bash
# install.sh [TEST...] - installs the appliance from its ISO under emulation, silently and by hand, on BIOS and on UEFI,
# and starts what was installed; and shows that what cannot work is refused in a sentence with nothing written.
# ISO=FILE for another one than build/image/freehold.iso. A test is the part of a function's name behind test_.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lab/appliance.sh
iso=${ISO:-build/image/freehold.iso}
w=$appliance_work
passed=0 failed=0

# answers TEXT: a FAT image with that answer file, $w/answers.img.
answers() {
	rm -f "$w/answers.img"
	mkfs.fat -C -n FREEHOLD-AN "$w/answers.img" 2048 >/dev/null
	printf '%s\n' "$1" >"$w/answers.json"
	mcopy -i "$w/answers.img" "$w/answers.json" ::answers.json
}

disk() {
	rm -f "$w/$1"
	truncate -s "$2" "$w/$1"
}

# The disk is one hole, as it was made: not a byte was written.
is_untouched() {
	[ "$(stat -c %b "$w/$1")" = 0 ]
}

# login NAME: from the prompt to the menu.
login() {
	machine_wait "$1" 'login:' 150 || return 1
	echo "  log-in prompt $took s after the firmware or the restart"
	machine_keys "$1" root Enter
	machine_wait "$1" 'assword:' 30 || return 1
	machine_type "$1" appliance-lab
	machine_keys "$1" Enter
	machine_wait "$1" 'Enter number to select an option' 60
}

medium() {
	machine_start host --iso "$iso" --disk "$w/disk,serial=LAB00001" "$@" || return 1
	machine_wait host 'install, or use' 90 && machine_keys host Enter
}

silent() {
	answers '{ "disk": { "serial": "LAB*" }, "password": "appliance-lab", "name": "silent1",
		"address": "192.0.2.5/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1"], "finish": "powerOff" }'
	disk disk 4G
	medium --drive "$w/answers.img" "$@" && machine_ended host 300 || return 1
	machine_start host --disk "$w/disk,serial=LAB00001" "$@" && login host && machine_wait host 'silent1' 10 || return 1
	machine_stop host
}

test_silent_bios() {
	silent
}

test_silent_uefi() {
	silent --uefi
}

# "Freehold" in UCS-2, in the firmware's variables.
firmware_has_entry() {
	tr -d '\0\n' <"$w/host.vars" | LC_ALL=C grep -aq 'Freehold.*\\EFI\\BOOT\\BOOTX64.EFI'
}

by_hand() {
	disk disk 4G
	medium "$@" && machine_wait host '\(install, live\) \[install\]' 150 || return 1
	machine_keys host '?' Enter && machine_wait host 'no disk is touched' 20 && machine_keys host Enter || return 1
	machine_wait host 'Which disk\? \[vda\]' 30 && machine_keys host Enter || return 1
	machine_wait host 'To confirm, type' 20 && machine_keys host vda Enter || return 1
	machine_wait host 'Not confirmed' 20 && is_untouched disk || return 1
	machine_wait host 'Which disk\? \[vda\]$' 20 && machine_keys host Enter || return 1
	sleep 1
	machine_keys host 0001 Enter && machine_wait host 'Password for root' 20 && machine_keys host short Enter || return 1
	machine_wait host 'at least 8' 20 && machine_type host appliance-lab && machine_keys host Enter || return 1
	machine_wait host 'The same again' 20 && machine_type host appliance-lab && machine_keys host Enter || return 1
	machine_wait host 'Restart now\? \(yes, no\) \[yes\]' 120 || return 1
	machine_screen host | grep -q appliance-lab && return 1
	if [ "${1:-}" = --uefi ]; then
		machine_screen host | grep -q 'boot menu has it first' && firmware_has_entry || return 1
	fi
	machine_stop host # the medium is taken out here
	machine_start host --disk "$w/disk,serial=LAB00001" "$@" && login host || return 1
	machine_stop host
}

test_by_hand_bios() {
	by_hand
}

test_by_hand_uefi() {
	by_hand --uefi
}

# refused SENTENCE OPTION...: the medium with the answers says so, offers the dialog, and has written nothing.
refused() {
	local sentence=$1
	shift
	medium --drive "$w/answers.img" "$@" && machine_wait host "$sentence" 150 || return 1
	machine_wait host '\(install, live\) \[install\]' 20 && is_untouched disk || return 1
	machine_stop host
}

test_half_an_answer_file_is_refused() {
	answers '{ "disk": { "serial": "LAB*" }, "password": "appliance-l'
	disk disk 4G
	refused 'Nothing was installed: .*'
}

test_answers_for_another_disk_are_refused() {
	answers '{ "disk": { "serial": "OTHER" }, "password": "appliance-lab" }'
	disk disk 4G
	refused 'Nothing was installed: disk: none fits'
}

test_a_small_disk_is_refused() {
	answers '{ "disk": { "serial": "LAB*" }, "password": "appliance-lab" }'
	disk disk 1G
	refused 'too small'
}

test_the_medium_itself_is_refused() {
	answers '{ "disk": { "model": "QEMU*" }, "password": "appliance-lab" }'
	disk disk 4G
	machine_start host --stick "$iso" --disk "$w/disk,serial=LAB00001" --drive "$w/answers.img" || return 1
	machine_wait host 'install, or use' 90 && machine_keys host Enter || return 1
	machine_wait host 'the medium that this system runs from|is in use' 150 && is_untouched disk || return 1
	machine_stop host
}

# Both ways to install go on; who reads on is told what to switch on.
test_a_processor_without_virtualisation_is_a_warning() {
	local none=(-- -cpu EPYC,-svm)
	disk disk 4G
	medium "${none[@]}" && machine_wait host 'virtual machines cannot run' 150 &&
		machine_wait host '\(install, live\) \[install\]' 30 || return 1
	machine_screen host | tr '\n' ' ' | grep -q 'switch on virtualisation' || return 1
	machine_stop host
	answers '{ "disk": { "serial": "LAB*" }, "password": "appliance-lab", "finish": "powerOff" }'
	medium --drive "$w/answers.img" "${none[@]}" && machine_ended host 300 || return 1
	machine_log host | grep -q 'virtual machines cannot run' && machine_log host | grep -q 'Freehold is on /dev/vda'
}

# The data partition is overwritten, then gone: the menu comes nevertheless, and says so.
test_a_host_without_its_data_comes_up() {
	silent || return 1
	dd if=/dev/zero of="$w/disk" bs=1M seek=1346 count=64 conv=notrunc status=none
	machine_start host --disk "$w/disk,serial=LAB00001" || return 1
	machine_wait host 'damaged.*|will be kept' 150 && machine_keys host Enter || return 1
	machine_wait host 'Enter number to select an option' 60 || return 1
	machine_stop host
}

for t in ${*:-$(compgen -A function test_ | sed 's/^test_//')}; do
	start=$SECONDS
	if "test_$t"; then
		echo "PASS $t ($((SECONDS - start)) s)"
		passed=$((passed + 1))
	else
		echo "FAIL $t ($((SECONDS - start)) s)"
		[ -z "${machine_pid[host]:-}" ] || machine_screen host | sed 's/^/| /'
		failed=$((failed + 1))
	fi
	machine_stop host 2>/dev/null
done
echo "install: $passed passed, $failed failed"
[ $failed = 0 ]
