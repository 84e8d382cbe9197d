-- disk-live.lua - guests on VHDX and VHD whose disks get children, and are merged again, while they run; and whose
-- worker is killed at any moment of that: nothing that was synced is lost. VHDX, or the variant's format.
--
-- The scenario is the agent here: the list of a disk's images, its own first, is what a machine's document would have.
-- A new child is written into it before the worker is asked to use it (an empty child shows what its parent has), and
-- one that was merged leaves it after "Merged", before the worker is told to let go of it.

local storage = dofile("/lab/storage.lua")
local step = storage.step
local FOLDER = "/tmp/disks/"
local KILLS = { vhdx = 20, vhd = 8 }
local format = lab.variant or "vhdx"

local function must(command, ...)
	command = command:format(...)
	local text, status = lab.run(command)
	lab.check(status == 0, "%s: status %s: %s", command, status, text)
	return text
end

-- --- images ----------------------------------------------------------------------------------------------

-- An image of a raw file's content, or of that many empty MiB.
local function image(format, name, from)
	local path = FOLDER .. name .. "." .. format
	must("mkdir -p %s; rm -f %s", FOLDER, path)
	if type(from) == "string" then
		must("fh-disk convert -f raw -t %s --type dynamic %s %s && rm %s", format, from, path, from)
	else
		must("fh-disk create -t %s --type dynamic %s %dM", format, path, from)
	end
	return path
end

-- A child of an image that is in use: made on copies, of which it knows the identity and the name only.
local children = 0
local function child_of(d)
	local parent, copies = d.chain[1], FOLDER .. "copies"
	children = children + 1
	local name = string.format("%s-%d.%s", d.serial, children, d.format)
	must("rm -rf %s; mkdir %s; cp %s %s/", copies, copies, table.concat(d.chain, " "), copies)
	must("cd %s && fh-disk create -t %s --type differencing --parent %s %s && mv %s %s", copies, d.format,
		parent:match("[^/]+$"), name, name, FOLDER)
	must("rm -rf %s", copies)
	return FOLDER .. name
end

local function disk(format, lun, serial, from)
	local path = image(format, serial, from)
	return { lun = lun, serial = serial, format = format, chain = { path }, more = { Format = format:upper() } }
end

local function named(d)
	d.file = d.chain[1]
	d.parents = table.move(d.chain, 2, #d.chain, 1, {})
	return d
end

-- What the chain shows, as a raw file.
local function content(d)
	local raw = FOLDER .. d.serial .. ".raw"
	must("rm -f %s; fh-disk convert -t raw %s %s", raw, d.chain[1], raw)
	return raw
end

local function check_images(d)
	for _, path in ipairs(d.chain) do
		must("fh-disk check %s", path)
	end
end

-- --- what the agent does -----------------------------------------------------------------------------------

local function with_files(method, vm, d, files)
	local params = { Lun = d.lun }
	for name, path in pairs(files) do
		params[name] = assert(fh.open(path, "rw"))
	end
	local result, why = vm:try(method, params, 60)
	for name in pairs(files) do
		params[name]:close()
	end
	return result, why
end

local function branch(vm, d)
	local child = child_of(d)
	table.insert(d.chain, 1, child)
	return with_files("disk.branch", vm, d, { File = child })
end

local function begin_merge(vm, d)
	return with_files("disk.merge", vm, d, { File = d.chain[2] })
end

local function end_merge(vm, d)
	local child = table.remove(d.chain, 1)
	local result, why = vm:try("disk.merge.complete", { Lun = d.lun }, 60)
	os.remove(child)
	return result, why
end

local function merge(vm, d)
	lab.check(begin_merge(vm, d))
	vm:wait_disk("Merged", 120)
	lab.check(end_merge(vm, d))
end

-- --- children and merges beside random I/O -------------------------------------------------------------------

local SIZE = 64
local function guest(c)
	for _, d in ipairs(c.disks) do
		named(d)
	end
	c.run, c.root, c.memory, c.append = "obey", nil, 384, "fh.root=root"
	return storage.at_work(lab.start(c), c)
end

local function new_guest(format)
	return {
		kernel = "cloud-6.12", processors = 2,
		disks = { disk(format, 0, "root", storage.root("cloud-6.12")), disk(format, 1, "data", SIZE) },
	}
end

local function off(vm, c)
	vm:must("sync")
	vm:say("mount -o remount,ro /; poweroff -f\n")
	vm:wait("off", 30)
	for _, d in ipairs(c.disks) do
		vm:call("disk_remove", { Lun = d.lun })
		vm:wait_disk("Removed", 30)
	end
	vm:stop()
	for _, d in ipairs(c.disks) do
		check_images(d)
	end
	local text, status = lab.run("e2fsck -f -n " .. content(c.disks[1]))
	lab.check(status == 0, "e2fsck of the root disk: %s", text)
end

local function beside_io(format)
	local c = new_guest(format)
	local vm = step("root on a dynamic " .. format:upper(), guest, c)
	local root, data = c.disks[1], c.disks[2]
	storage.begin_io(vm, "data", 16, 2, "100000s")
	local done = storage.progress(vm)
	step("a child under I/O", function() lab.check(branch(vm, data)) end)
	done = storage.progress(vm, done)
	step("a child of the root", function() lab.check(branch(vm, root)) end)
	vm:must("head -c 3000000 /dev/urandom >/mine; sync")
	step("a child of the child", function() lab.check(branch(vm, data)) end)
	done = storage.progress(vm, done)
	step("merged under I/O", merge, vm, data)
	done = storage.progress(vm, done)
	step("merged again", merge, vm, data)
	step("the root merged", merge, vm, root)
	step("a merge that is cancelled", function()
		lab.check(branch(vm, data))
		storage.progress(vm, done)
		lab.check(begin_merge(vm, data))
		vm:call("disk.merge.cancel", { Lun = data.lun })
		vm:wait_disk("MergeEnded", 60)
		lab.check(merge(vm, data) == nil)
	end)
	storage.progress(vm, done)
	vm:must("kill $io")
	local failed, sum, text = storage.end_io(vm)
	lab.equal(failed, 0, "failed operations")
	vm:must("sha256sum </mine >/mine.sum; sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </mine | cmp - /mine.sum", 60)
	step("sound images are left", off, vm, c)
	lab.equal(#data.chain, 1, "images of the data disk")
	storage.same_below(content(data), sum)
	lab.log("%s", text)
end

-- --- kill -9 ---------------------------------------------------------------------------------------------------

-- Files that are written, synced, and only then told of; the last KEPT of them stay.
local KEPT = 25
local WRITER = "n=%d; mkdir -p /log; while :; do n=$((n + 1)); head -c $((n * 7919 %% 60000 + 1)) /dev/urandom >/log/$n; " ..
	"s=$(sha256sum </log/$n); sync; rm -f /log/$((n - %d)); echo FH-SYNCED $n ${s%%%% *}; done & writer=$!"

local function synced(vm, sums)
	lab.pump(0)
	local last = 0
	for n, sum in vm.console_text:gmatch("FH%-SYNCED (%d+) (%x+)\r?\n") do
		sums[tonumber(n)] = sum
		last = tonumber(n)
	end
	return last
end

local function wait_synced(vm, sums, n)
	lab.wait(60, "the guest does not sync", function()
		return synced(vm, sums) >= n
	end)
end

-- All that the guest said to be synced is there, after its kernel has replayed the file system's journal. It may have
-- gone on for some files that nobody heard of any more, and removed as many at the other end: each such has its follower.
local function nothing_lost(vm, sums, last)
	local from = math.max(1, last - KEPT + 2)
	if last == 0 then
		return
	end
	local text = vm:must(string.format("cd /log; for n in $(seq %d %d); do " ..
		"if [ -e $n ] || ! [ -e $((n + %d)) ]; then echo SUM $n $(sha256sum <$n); else echo REMOVED $n; fi; done", from, last, KEPT), 60)
	for n = from, last do
		if n > last - KEPT // 2 or not text:match("REMOVED " .. n .. "%f[%D]") then
			lab.equal(text:match("SUM " .. n .. " (%x+)"), sums[n], "what was synced as file " .. n)
		end
	end
	local errors = vm:must("dmesg | grep -c 'EXT4-fs error' || true", 30)
	lab.equal(tonumber(errors:match("%d+")), 0, "errors of the file system")
end

-- The worker's processes die together, so many seconds from now.
local function kill_after(vm, seconds)
	local pids = {}
	for _, p in ipairs(vm:processes()) do
		pids[#pids + 1] = p.pid
	end
	return assert(fh.spawn({ "sh", "-c", string.format("usleep %d; kill -9 %s", seconds * 1e6 // 1, table.concat(pids, " ")) }))
end

-- What goes on at the moment of the kill. Whatever the worker has no time to answer does not count.
local moments = {
	{ "writing", function() end },
	{ "a new child", function(vm, d) branch(vm, d) end },
	{ "a merge", function(vm, d) begin_merge(vm, d) end },
	{ "the end of a merge", function(vm, d) pcall(end_merge, vm, d) end, function(vm, d)
		lab.check(begin_merge(vm, d))
		vm:wait_disk("Merged", 120)
	end },
}

local function one_kill(c, round, sums, last)
	local moment, d = moments[(round - 1) % #moments + 1], c.disks[1]
	local vm = guest(c)
	nothing_lost(vm, sums, last)
	vm:must(WRITER:format(last, KEPT))
	wait_synced(vm, sums, last + 3)
	if moment[3] then
		moment[3](vm, d)
	end
	local seconds = math.random() ^ 2 * 1.5
	local killer = kill_after(vm, seconds)
	pcall(moment[2], vm, d)
	fh.wait(killer, 10000)
	synced(vm, sums)
	fh.sleep(0.1)
	last = math.max(last, synced(vm, sums))
	vm:stop()
	lab.log("kill %d: %s, after %.2f s; %d files synced, %d images", round, moment[1], seconds, last, #d.chain)
	return last
end

local function killed(format)
	local c = { kernel = "cloud-6.12", processors = 2, disks = { disk(format, 0, "root", storage.root("cloud-6.12")) } }
	local sums, last = {}, 0
	for round = 1, KILLS[format] do
		last = one_kill(c, round, sums, last)
	end
	local vm = guest(c)
	nothing_lost(vm, sums, last)
	off(vm, c)
end

lab.test(format:upper() .. ": children and merges while a guest runs", function()
	beside_io(format)
end)
lab.test(string.format("%s: the worker is killed %d times, and nothing synced is lost", format:upper(), KILLS[format]), function()
	killed(format)
end)
