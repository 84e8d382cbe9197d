-- programs.lua - programs of Debian's in a guest: they lie on a disk of their own and are locked into it.

local programs = { INSIDE = "/programs" }
local FILE = "/tmp/disks/programs"

-- The disk, for the configuration of a machine.
function programs.disk(release, lun)
	lab.run(string.format("mkdir -p /tmp/disks; gunzip -c /disks/programs-%s.gz >%s", release, FILE))
	return { lun = lun, file = FILE, serial = "programs" }
end

-- In the guest, once: mounts it.
function programs.enter(vm)
	vm:must(string.format("mkdir -p %s; mount -t ext4 $(disk programs) %s", programs.INSIDE, programs.INSIDE), 30)
	for _, folder in ipairs({ "proc", "sys", "dev" }) do
		vm:must(string.format("mount -o bind /%s %s/%s", folder, programs.INSIDE, folder))
	end
end

-- What it printed, and its exit status.
function programs.run(vm, command, seconds)
	return vm:sh(string.format("chroot %s %s", programs.INSIDE, command), seconds or 30)
end

return programs
