-- disk.lua - stock guests on synthetic disks. Variants: the kernels they run on, one of those in `more`.

local storage = dofile("/lab/storage.lua")
local step = storage.step
local EBUSY = 16

local kernels = {
	["6.12"] = { "cloud-6.12" },
	["6.12full"] = { "full-6.12" },
	["6.1"] = { "cloud-6.1" },
	["6.1full"] = { "full-6.1" },
	pae = { "pae-6.1" },
	intel = { "cloud-6.12", "cloud-6.1" },
}
local slow = lab.variant == "intel" or lab.variant == "pae" -- Bochs
local OPERATIONS = slow and 400 or 2500 -- a random test
local PROCESSORS = slow and 2 or 4
local SIZE, ROOM = slow and 16 or 64, slow and 6 or 24 -- MiB

-- --- what is tested ------------------------------------------------------------------------------------

local STORAGE_CLASS = ("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f"):gsub("%-", "%%-")

-- What the guest itself says of its bus and its disks.
local function evidence(vm, kernel, processors, at_version)
	local text = vm:must("disks", 30)
	local driver, channels = text:match("FH%-VMBUS {" .. STORAGE_CLASS .. "} driver (%S+) channels (%d+)")
	lab.equal(driver, "hv_storvsc", "the driver of the storage controller")
	lab.equal(tonumber(channels), processors, "channels, one for each processor")
	local version = text:match("Vmbus version:(%d+%.%d+)")
	lab.equal(version, at_version or "5.3", "the bus's version")
	if kernel ~= "pae-6.1" then
		lab.equal(text:match("FH%-VARIABLE vmstor_proto_version (0x%x+)"), "0x602", "the storage protocol's version")
	end
	local root = lab.check(text:match("FH%-BLOCK sd%a ([^\n]*serial 'root *'[^\n]*)"), "no root disk: %s", text)
	lab.check(root:find("vendor 'Msft +' model 'Virtual Disk +'"), "vendor and model: %s", root)
	lab.check(root:find("wwid 'naa%.6%x+'"), "world wide name: %s", root)
	lab.check(root:find("logical 512 physical 4096") or root:find("logical 512 physical 512"), "block sizes: %s", root)
	lab.check(tonumber(root:match("discard (%d+)")) > 0, "no discard: %s", root)
	lab.equal(root:match("thin (%d)"), "1", "thin provisioning")
	return string.format("bus %s, %s channel(s), root %s", version, channels, root)
end

local function file_system(vm)
	lab.check(vm:must("files /", 60):find("FH%-FILES good"), "files changed")
end

-- Space that the guest gives back is given back below.
local function discard(vm, c)
	local data, root = c.disks[2].file, c.disks[1].file
	lab.check(storage.allocated(data) > 8 << 20, "the disk has been written")
	vm:must("blkdiscard $(disk data)", 30)
	lab.check(storage.allocated(data) < 1 << 20, "%d bytes stay allocated after a discard of all", storage.allocated(data))
	lab.check(vm:must("guest-tool iocheck $(disk data)", 60):find(" of 0 blocks, %d+ empty, 0 bad"), "discarded blocks are not zero")
	vm:must("head -c 6000000 /dev/urandom >/large; sync; rm /large; sync", 30)
	local before = storage.allocated(root)
	vm:must("fstrim /", 30)
	local given = before - storage.allocated(root)
	lab.check(given > 5 << 20, "fstrim gave back only %d bytes", given)
	return string.format("%d KiB given back by fstrim", given >> 10)
end

local function which_medium(vm)
	vm:must("mkdir -p /mnt; mount -t iso9660 -r /dev/sr0 /mnt", 30)
	local text = vm:must("cat /mnt/which; sha256sum </mnt/numbers", 60)
	vm:must("umount /mnt")
	return text:match("the (%a+) medium"), text:match("(%x+)  %-")
end

local function insert(vm, lun, path, more)
	local params = { Lun = lun, File = path and assert(fh.open(path)) }
	for k, v in pairs(more or {}) do
		params[k] = v
	end
	local result, why, code = vm:try("disk_insert", params)
	if params.File then
		params.File:close()
	end
	return result, why, code
end

local function media(vm, c)
	local wanted = lab.run("seq 200000 | sha256sum"):match("^%x+")
	local lun = 4
	vm:must("echo 200 >/sys/block/sr0/events_poll_msecs; guest-tool watch & watch=$!")
	vm:expect("FH%-WATCH")
	local which, sum = which_medium(vm)
	lab.equal(which, "first", "medium")
	lab.equal(sum, wanted, "checksum of a file on it")
	lab.check(insert(vm, lun, "/disks/two.iso"), "the medium cannot be changed")
	vm:expect("FH%-DISK change sr0 ", 20)
	which, sum = which_medium(vm)
	lab.equal(which, "second", "medium")
	lab.equal(sum, wanted, "checksum of a file on it")
	vm:must("mount -t iso9660 -r /dev/sr0 /mnt")
	local result, why, code = insert(vm, lun, "/disks/one.iso")
	lab.check(not result and code == EBUSY, "a medium in use was changed: %s", why)
	vm:must("umount /mnt")
	vm:must("guest-tool eject /dev/sr0", 20)
	vm:wait_disk("Ejected", 20)
	lab.check(select(2, vm:sh("dd if=/dev/sr0 of=/dev/null bs=2048 count=1", 20)) ~= 0, "an empty drive can be read")
	lab.check(insert(vm, lun, "/disks/one.iso"), "no medium can be inserted")
	vm:expect("FH%-DISK change sr0 ", 20)
	lab.equal((which_medium(vm)), "first", "medium")
	vm:must("kill $watch; echo 0 >/sys/block/sr0/events_poll_msecs")
end

-- Disks come and go while another is busy.
local function hotplug(vm, times)
	local before = #vm:call("disk_list").Disks
	local spare = storage.on_small("spare", 8, 16)
	lab.run("head -c 8388608 /dev/urandom >" .. spare)
	vm:must("guest-tool watch & watch=$!")
	vm:expect("FH%-WATCH")
	storage.begin_io(vm, "data", 4, 1, "100000s")
	storage.progress(vm)
	for i = 1, times do
		local lun = 8 + i % 56
		vm:add_disk({ lun = lun, file = spare, serial = "spare" .. i })
		local name = vm:expect("FH%-DISK add (sd%a+) %d+:0:0:" .. lun .. "\n", 30)
		if i % 10 == 1 then
			vm:must("dd if=/dev/" .. name .. " of=/dev/null bs=64k count=16 iflag=direct", 30)
		end
		vm:call("disk_remove", { Lun = lun })
		vm:expect("FH%-DISK remove " .. name .. " ", 30)
		vm:wait_disk("Removed", 30)
	end
	-- What is removed is not held open: its room is free once its name is gone.
	lab.run("rm " .. spare)
	lab.wait(10, "the room of a removed disk's file is still taken", function()
		return storage.room("spare") > 12
	end)
	vm:must("kill $watch; kill $io")
	local failed, sum = storage.end_io(vm)
	lab.equal(failed, 0, "failed operations of the disk beside them")
	lab.equal(#vm:call("disk_list").Disks, before, "disks that are left")
	return sum
end

-- Lines of the worker's log that have these words.
local function log_lines(vm, words)
	local n = 0
	for line in lab.read(vm.log):gmatch("[^\n]+") do
		n = n + (line:find(words, 1, true) and 1 or 0)
	end
	return n
end

-- An error below is the guest's error, told and logged once; what was acknowledged stays.
local BREAKABLE, BROKEN, LENGTH = 32, 16, 2 -- MiB
local function broken(vm, path)
	vm:must("flaky=$(disk flaky); dd if=$flaky of=/dev/null bs=1M iflag=direct", 60)
	storage.break_it(BREAKABLE, BROKEN, LENGTH)
	vm:must("dd if=$flaky of=/dev/null bs=1M iflag=direct count=" .. BROKEN, 60)
	for _, what in ipairs({ "if=$flaky of=/dev/null iflag=direct skip=", "if=/dev/zero of=$flaky oflag=direct seek=" }) do
		local text, status = vm:sh(string.format("dd %s%d bs=1M count=1", what, BROKEN), 60)
		lab.check(status ~= 0 and (text:find("Input/output error") or text:find("No data available")), "no error where there is one below: %s", text)
	end
	local said = vm:wait_disk("Failed", 10)
	lab.equal(said.Lun, 3, "the event's disk")
	lab.check(said.Offset >= BROKEN << 20 and said.Offset < (BROKEN + LENGTH) << 20, "the event's place: %s", said.Offset)
	storage.begin_io(vm, "flaky", 16, 1, tostring(OPERATIONS // 2))
	lab.check(storage.end_io(vm, 300) > 0, "nothing failed on a broken disk")
	storage.mend(BREAKABLE)
	return storage.verified_io(vm, "flaky", path, 16, 1, OPERATIONS // 2)
end

-- Errors of one disk are a line for each cause, and so many events at once and a second (worker/disks.c, NEWS_BURST).
local EVENTS_AT_ONCE, EVENTS_A_SECOND = 10, 1
local function few_words(vm)
	local logged, told = log_lines(vm, "disk 0:3"), {}
	for _, e in ipairs(vm.events) do
		if e.method == lab.names.disk_event and e.params.What == "Failed" then
			local t = told[e.params.Lun] or { n = 0, first = e.at }
			t.n, t.last = t.n + 1, e.at
			told[e.params.Lun] = t
		end
	end
	lab.check(logged >= 1 and logged <= 3, "%d lines in the worker's log, not one for each cause: %s", logged, lab.read(vm.log))
	for lun, t in pairs(told) do
		local most = EVENTS_AT_ONCE + (t.last - t.first + 2) * EVENTS_A_SECOND -- they come a little later than they are sent
		lab.check(t.n <= most, "disk 0:%d: %d events in %.1f s", lun, t.n, t.last - t.first)
	end
end

-- No room below: the machine stands still, says why, and goes on as if nothing had been.
local function full(vm, path)
	storage.begin_io(vm, "small", 32, 1, tostring(OPERATIONS))
	vm:wait("paused", 120)
	local said = vm:wait_disk("Full", 10)
	lab.equal(said.Lun, 2, "the event's disk")
	lab.check(vm.reason:find("0:2"), "the reason names no disk: %s", vm.reason)
	-- Without room it stands still again.
	vm:call("resume")
	vm:wait("paused", 60)
	storage.make_room("small", 100)
	vm:call("resume")
	local failed, sum, text = storage.end_io(vm, 300)
	lab.equal(failed, 0, "failed operations")
	storage.same_below(path, sum)
	return text
end

-- Without PauseWhenFull the guest gets an error, and may go on.
local function full_told(vm, path)
	storage.begin_io(vm, "told", 8, 1, tostring(OPERATIONS // 2))
	lab.check(storage.end_io(vm, 300) > 0, "no error though there is no room")
	lab.equal(vm:call("status").State, "Running", "state")
	storage.make_room("told", 100)
	return storage.verified_io(vm, "told", path, 8, 1, OPERATIONS // 4)
end

-- The next kernel: the bus and the disks are let go of and found again.
local function next_kernel(vm, c, how, more)
	local kernel, kernel_size = storage.padded("/guests/" .. c.kernel .. "/vmlinuz")
	local initrd, initrd_size = storage.padded("/guests/" .. c.kernel .. "/initrd")
	vm:add_disk({ lun = 60, file = kernel, serial = "kernel", read_only = true })
	vm:add_disk({ lun = 61, file = initrd, serial = "initrd", read_only = true })
	vm:say(string.format('guest-tool kexec %s $(disk kernel) %d $(disk initrd) %d "$(sed s/crashkernel=[^\\ ]*//g /proc/cmdline) %s"; echo FH-DID $?\n',
		how, kernel_size, initrd_size, more or ""))
	vm:expect("FH%-KEXEC loaded", 60)
	if how == "crash" then
		vm:expect("FH%-DID 0")
		vm:say("echo c >/proc/sysrq-trigger\n")
	end
	vm:expect("FH%-INIT", 120)
	return storage.at_work(vm, c)
end

-- --- the machines --------------------------------------------------------------------------------------

local function skip_emulated(kernel)
	if kernel == "pae-6.1" and lab.emulated then
		lab.skip("QEMU's emulated SVM goes astray in 32-bit guests before they page; see make lab-intel")
	end
end

local function one_processor(kernel)
	lab.test(kernel .. " runs from a disk: files, random I/O with 1 processor, discard", function()
		skip_emulated(kernel)
		local c = { kernel = kernel, disks = { { lun = 1, file = storage.sparse("data", SIZE), serial = "data" } } }
		local vm = step("root on a disk", storage.guest, c)
		step("evidence", evidence, vm, kernel, 1)
		step("a file system", file_system, vm)
		step("random I/O", storage.verified_io, vm, "data", c.disks[2].file, 32, 1, tostring(OPERATIONS))
		step("discard", discard, vm, c)
		step("a sound file system is left", storage.off, vm, c)
	end)
end

local function many_processors(kernel)
	local sentence = "%s with %d processors: random I/O, media, hot plug, faults below, the next kernel"
	lab.test(sentence:format(kernel, PROCESSORS), function()
		skip_emulated(kernel)
		local breakable = storage.breakable(BREAKABLE)
		local c = {
			kernel = kernel, processors = PROCESSORS, memory = slow and 300 or 512,
			append = kernel == "pae-6.1" and storage.NO_RETPOLINE or nil,
			disks = {
				{ lun = 1, file = storage.sparse("data", SIZE), serial = "data" },
				{ lun = 2, file = storage.on_small("small", SIZE, ROOM), serial = "small" },
				{ lun = 3, file = breakable, serial = "flaky", how = "direct" },
				{ lun = 4, file = "/disks/one.iso", serial = "dvd", kind = "Dvd" },
				{ lun = 5, file = storage.on_small("told", SIZE, ROOM // 2), serial = "told", more = { PauseWhenFull = false } },
			},
		}
		local vm = step("root on a disk", storage.guest, c)
		step("evidence", evidence, vm, kernel, PROCESSORS)
		step("random I/O", storage.verified_io, vm, "data", c.disks[2].file, 32, PROCESSORS, tostring(OPERATIONS))
		step("media", media, vm, c)
		step("hot plug", hotplug, vm, slow and 4 or 8)
		step("an error below", broken, vm, breakable)
		step("a full disk below, told to the guest", full_told, vm, c.disks[6].file)
		step("a full disk below", full, vm, c.disks[3].file)
		if kernel ~= "pae-6.1" then -- no kexec_file_load
			step("the next kernel", next_kernel, vm, c, "now")
			step("evidence", evidence, vm, kernel, PROCESSORS)
			step("a file system", file_system, vm)
			step("random I/O", storage.verified_io, vm, "data", c.disks[2].file, 32, PROCESSORS, tostring(OPERATIONS // 2))
		end
		step("what was said of the errors", few_words, vm)
		step("a sound file system is left", storage.off, vm, c)
	end)
end

-- A hundred times, on one kernel of each series, without the rest.
local function hundred(kernel, times)
	lab.test(string.format("%s: a disk comes and goes %d times beside a busy one", kernel, times), function()
		skip_emulated(kernel)
		local data = storage.sparse("data", 64)
		local c = { kernel = kernel, processors = 2, disks = { { lun = 1, file = data, serial = "data" } } }
		local vm = storage.guest(c)
		storage.same_below(data, hotplug(vm, times))
		storage.off(vm, c)
	end)
end

-- The crash kernel finds the disks that the dead one has left as they were.
local function crash(kernel)
	lab.test(kernel .. ": the crash kernel runs from the disk of the one that crashed", function()
		local data = storage.sparse("data", 64)
		local c = {
			kernel = kernel, processors = 2, memory = 640, append = "crashkernel=256M",
			disks = { { lun = 1, file = data, serial = "data" } },
		}
		local vm = storage.guest(c)
		storage.begin_io(vm, "data", 32, 2, "100000s")
		storage.progress(vm)
		next_kernel(vm, c, "crash", "nr_cpus=1 reset_devices")
		file_system(vm)
		storage.verified_io(vm, "data", data, 16, 1, OPERATIONS // 4)
		storage.off(vm, c)
	end)
end

-- A driver that speaks no newer version than this one: older guests do, and Linux can be told to.
local function older(kernel, version)
	lab.test(string.format("%s runs from a disk with version %s of the bus", kernel, version), function()
		skip_emulated(kernel)
		local major, minor = version:match("(%d+)%.(%d+)")
		local c = {
			kernel = kernel, processors = 2, append = string.format("hv_vmbus.max_version=%d", tonumber(major) << 16 | tonumber(minor)),
			disks = { { lun = 1, file = storage.sparse("data", 32), serial = "data" } },
		}
		local vm = step("root on a disk", storage.guest, c)
		step("evidence", evidence, vm, kernel, 2, version)
		step("random I/O", storage.verified_io, vm, "data", c.disks[2].file, 32, 2, tostring(OPERATIONS // 4))
		step("hot plug", hotplug, vm, 2)
		step("the next kernel", next_kernel, vm, c, "now")
		step("evidence", evidence, vm, kernel, 2, version)
		step("a sound file system is left", storage.off, vm, c)
	end)
end

local HUNDRED = 100
local more = {
	hotplug = function()
		hundred("cloud-6.12", HUNDRED)
	end,
	hotplugs = function()
		for _, kernel in ipairs({ "full-6.12", "cloud-6.1", "full-6.1", "pae-6.1" }) do
			hundred(kernel, HUNDRED)
		end
	end,
	versions = function()
		for _, version in ipairs({ "5.2", "5.1", "5.0", "4.1", "4.0", "3.0", "2.4" }) do
			older("cloud-6.1", version)
		end
	end,
	crash = function()
		crash("cloud-6.12")
		crash("cloud-6.1")
	end,
}
if more[lab.variant] then
	more[lab.variant]()
end
for _, kernel in ipairs(kernels[lab.variant] or {}) do
	one_processor(kernel)
	many_processors(kernel)
end
