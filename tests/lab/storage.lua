-- storage.lua - what the scenarios of disks share: files on the lab's machine, guests with disks, checks on both sides.
local storage = {}

local KEEP = "/tmp/disks/"

-- A file of that many MiB that takes no space yet.
function storage.sparse(name, mib, folder)
	local path = (folder or KEEP) .. name
	lab.run("mkdir -p " .. KEEP .. "; rm -f " .. path .. "; truncate -s " .. mib .. "M " .. path)
	return path
end

-- A copy of the file system that guests boot from.
function storage.root(kernel)
	local path = KEEP .. "root-" .. kernel
	lab.run("mkdir -p " .. KEEP)
	local text, status = lab.run(string.format("gunzip -c /disks/%s.gz >%s", kernel:find("pae") and "root32" or "root64", path))
	lab.check(status == 0, "the root disk: %s", text)
	return path
end

-- A file as a disk: whole sectors.
function storage.padded(path)
	local copy = KEEP .. path:gsub("/", "_")
	local size = tonumber((lab.run("stat -c %s " .. path)))
	lab.run(string.format("mkdir -p %s; cp %s %s; truncate -s %d %s", KEEP, path, copy, (size + 4095) // 4096 * 4096, copy))
	return copy, size
end

-- Bytes that a file takes on the lab's machine.
function storage.allocated(path)
	return tonumber((lab.run("stat -c %b " .. path))) * 512
end

-- A file of that many MiB on a file system of its own that has only `room` MiB.
function storage.on_small(name, mib, room)
	local folder = "/tmp/small-" .. name
	lab.run(string.format("mkdir -p %s; umount %s 2>/dev/null; mount -t tmpfs -o size=%dm small %s", folder, folder, room, folder))
	return storage.sparse(name, mib, folder .. "/")
end

function storage.make_room(name, mib)
	lab.run(string.format("mount -o remount,size=%dm /tmp/small-%s", mib, name))
end

-- Free MiB there.
function storage.room(name)
	return tonumber((lab.run("stat -f -c %a /tmp/small-" .. name))) // 256 -- blocks of 4 KiB
end

-- A block device of that many MiB, of which storage.break_it makes a part unreadable.
local MIB = 2048 -- sectors
function storage.breakable(mib)
	local file = storage.sparse("breakable", mib)
	lab.run("modprobe loop; modprobe dm_mod")
	if lab.read("/sys/block/loop0/loop/backing_file") then
		fh.dm_remove("lab")
		lab.run("losetup -d /dev/loop0")
	end
	lab.check(select(2, lab.run("losetup /dev/loop0 " .. file)) == 0, "no loop device")
	return assert(fh.dm("lab", { { 0, mib * MIB, "linear", "/dev/loop0 0" } }))
end

function storage.break_it(mib, from, length)
	assert(fh.dm("lab", {
		{ 0, from * MIB, "linear", "/dev/loop0 0" },
		{ from * MIB, length * MIB, "error", "" },
		{ (from + length) * MIB, (mib - from - length) * MIB, "linear", "/dev/loop0 " .. (from + length) * MIB },
	}))
end

function storage.mend(mib)
	assert(fh.dm("lab", { { 0, mib * MIB, "linear", "/dev/loop0 0" } }))
end

-- Saves vm, ends its worker, restores in a new one and lets it go on.
function storage.moved(vm, c, go_on)
	local state <close> = assert(fh.memfd("state"))
	vm:call("save", { Stream = state }, 60)
	vm:wait("saved")
	vm:stop()
	state:seek(0)
	local again = lab.worker():restore(c, state)
	lab.equal(again:call("status").State, "Paused", "state after restore")
	if go_on ~= false then
		again:call("resume")
	end
	return again
end

-- Starts a guest that runs from its first disk, or from memory when root is false, and obeys.
function storage.guest(c)
	c.run = "obey"
	c.memory = c.memory or 384
	c.disks = c.disks or {}
	if c.root ~= false then
		table.insert(c.disks, 1, { lun = 0, file = storage.root(c.kernel), serial = "root" })
		c.append = "fh.root=root " .. (c.append or "")
	end
	return storage.at_work(lab.start(c), c)
end

-- Waits until a guest that has just started obeys.
function storage.at_work(vm, c)
	if c.root ~= false then
		lab.equal(vm:expect("FH%-ROOT ([^\n]+)", 120):match("^/dev/sd%a ext4 rw") ~= nil, true, "root on a disk, writable")
	end
	vm:expect("FH%-OBEY", 60)
	return vm
end

-- Random reads and writes begin in the guest, and go on beside what else it is told.
function storage.begin_io(vm, serial, depth, threads, amount)
	vm:must(string.format("guest-tool io $(disk %s) 0 %d %d %s & io=$!", serial, depth, threads, amount))
end

-- How many operations the guest has done; more than `than`.
function storage.progress(vm, than, seconds)
	local n
	repeat
		local failed, wrong
		n, failed, wrong = vm:expect("FH%-IO (%d+) operations, (%d+) failed, (%d+) wrong", seconds or 60)
		lab.equal(failed .. " " .. wrong, "0 0", "failed and wrong operations")
	until tonumber(n) > (than or 0)
	return tonumber(n)
end

-- The end of them: nothing was wrong; how many failed, and the checksum of what the disk must hold.
function storage.end_io(vm, seconds)
	local sum, blocks = vm:expect("FH%-IO%-SUM (%x+) of (%d+)", seconds or 120)
	local text, failed, wrong = vm:expect("FH%-IO%-END ([^\n]*), (%d+) failed, (%d+) wrong")
	lab.equal(wrong, "0", "blocks that are not what was written (" .. text .. ")")
	return tonumber(failed), sum .. " of " .. blocks, text
end

-- The file below a disk holds exactly what its guest had acknowledged.
function storage.same_below(path, sum)
	local text = lab.run("guest-tool iocheck " .. path)
	local below, bad = text:match("FH%-IO%-CHECK (%x+ of %d+) blocks, %d+ empty, (%d+) bad")
	lab.equal(below, sum, "checksum of the file below the disk")
	lab.equal(bad, "0", "blocks of it that are damaged")
end

-- Begins on an empty disk, ends and compares.
function storage.verified_io(vm, serial, path, depth, threads, amount)
	vm:must(string.format("blkdiscard $(disk %s)", serial), 30)
	storage.begin_io(vm, serial, depth, threads, amount)
	local failed, sum, text = storage.end_io(vm, 300)
	lab.equal(failed, 0, "failed operations")
	storage.same_below(path, sum)
	return text
end

-- The guest ends in order; what it leaves on its root disk is a sound file system.
function storage.off(vm, c)
	vm:must("sync")
	vm:say("mount -o remount,ro /; poweroff -f\n")
	vm:wait("off", 30)
	vm:stop()
	if c.root ~= false then
		local text, status = lab.run("e2fsck -f -n " .. c.disks[1].file)
		lab.check(status == 0, "e2fsck of the root disk: %s", text)
	end
end

-- A part of a test: its time is told, and its name when it fails.
function storage.step(what, fn, ...)
	local from = fh.now()
	local r = table.pack(pcall(fn, ...))
	if not r[1] then
		local e = r[2]
		if type(e) == "table" and e.why then
			e.why = what .. ": " .. e.why
		elseif type(e) == "string" then
			e = what .. ": " .. e
		end
		error(e, 0)
	end
	lab.log("%s (%.1f s)%s", what, fh.now() - from, type(r[2]) == "string" and ": " .. r[2] or "")
	return table.unpack(r, 2, r.n)
end

-- A fault of 32-bit Linux 6.1 itself: see boot.lua.
storage.NO_RETPOLINE = "spectre_v2=off"

return storage
