-- balloon.lua - dynamic memory with a stock guest's hv_balloon: what it gives back the host has, under pressure and
-- with huge pages of the host or without; memory that is added; what a guest finds that begins anew with pages in its
-- balloon. memory-KERNEL runs it.

local kernel = ({ ["6.12"] = "cloud-6.12", ["6.1"] = "cloud-6.1", pae = "pae-6.1" })[lab.variant] or "cloud-6.12"
local storage = dofile("/lab/storage.lua")
local pae = kernel == "pae-6.1"
local MIB = 1 << 20
local SHMEM = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
local CYCLES = 50

-- --- machines ----------------------------------------------------------------------------------------------

local function document(least, most)
	return { Memory = { Dynamic = true, MinimumSizeInMB = least, MaximumSizeInMB = most } }
end

-- A guest that obeys, with its driver agreed. Pressure is told at once, not after 45 s.
local function start(c)
	if pae and lab.emulated then
		lab.skip("QEMU's emulated SVM goes astray in 32-bit guests before they page; see make lab-intel")
	end
	c.kernel = kernel
	c.run = "obey"
	local vm = lab.start(c)
	vm:expect("FH%-OBEY", 90)
	vm:must("mkdir -p /tmp/m; mount -t tmpfs -o size=90% m /tmp/m")
	vm:sh("echo online >/sys/devices/system/memory/auto_online_blocks")
	vm:must("modprobe hv_balloon pressure_report_delay=0")
	lab.wait(30, "the guest's driver did not agree", function()
		return vm:call("memory_status").State == "Ready"
	end)
	return vm
end

local function target(vm, mib)
	vm:call("memory_target", { SizeInBytes = mib * MIB })
end

-- Waits until the machine has what was asked for.
local function await(vm, mib, seconds)
	local s
	lab.wait(seconds or 60, string.format("the machine did not come to %d MiB", mib), function()
		s = vm:call("memory_status")
		return s.AssignedInBytes == mib * MIB and s.State == "Ready"
	end)
	return s
end

local function settle(vm, mib, seconds)
	target(vm, mib)
	return await(vm, mib, seconds)
end

-- Bytes of the host that guest memory takes: those of the worker's memfd.
local function taken(vm)
	local pid = vm:worker().pid
	local text = lab.run(string.format(
		"for f in /proc/%d/fd/*; do case $(readlink $f) in */memfd:guest-ram*) stat -L -c %%b $f; esac; done", pid))
	return lab.check(tonumber(text:match("%d+")), "no guest memory among the worker's descriptors: %s", text) * 512
end

local function must_be_quiet(vm)
	vm:say("do_warnings\n")
	vm:no_warnings(kernel)
	vm:expect("FH%-DID", 30)
end

-- --- out of the guest, and in again --------------------------------------------------------------------------

for _, huge in ipairs({ "advise", "never" }) do
	lab.test("what the guest gives back the host has: shmem_enabled " .. huge, function()
		lab.write(SHMEM, huge)
		local vm = start({ memory = 512, document = document(128) })
		vm:must("head -c 300000000 /dev/urandom >/tmp/m/fill; rm /tmp/m/fill", 120)
		local before = taken(vm)
		lab.check(before > 300 * MIB, "the guest has used only %d MiB", before // MIB)
		local s = settle(vm, 256)
		local after = taken(vm)
		lab.check(after <= 256 * MIB + 16 * MIB, "%d MiB are still taken", after // MIB)
		lab.equal(s.BalloonedInBytes, 256 * MIB, "in the balloon")
		lab.equal(s.Nonsense, 0, "nonsense")
		settle(vm, 512)
		vm:must("head -c 300000000 /dev/urandom >/tmp/m/fill; sha256sum /tmp/m/fill >/tmp/sum; sha256sum -c /tmp/sum", 180)
		lab.check(taken(vm) > 300 * MIB, "memory that came back is not used")
		must_be_quiet(vm)
		lab.log("%d MiB before, %d MiB after", before // MIB, after // MIB)
		lab.write(SHMEM, "advise")
	end)
end

lab.test(CYCLES .. " times out and in again under pressure, and nothing is lost", function()
	local vm = start({ memory = 512, processors = 2, document = document(128) })
	vm:must("head -c 60000000 /dev/urandom >/tmp/m/kept; sha256sum /tmp/m/kept >/tmp/sum", 60)
	-- Beside it something takes memory and lets go of it, all the time.
	vm:must("(while :; do head -c 80000000 /dev/urandom >/tmp/m/churn 2>/dev/null; rm -f /tmp/m/churn; done) & echo $! >/tmp/churn", 10)
	for i = 1, CYCLES do
		target(vm, 230 + i % 7)
		-- A guest under pressure may keep some: it is enough that it gives.
		lab.wait(60, "the guest gives nothing", function()
			return vm:call("memory_status").AssignedInBytes < 400 * MIB
		end)
		settle(vm, 512)
	end
	vm:must("kill $(cat /tmp/churn); sha256sum -c /tmp/sum", 60)
	local s = vm:call("memory_status")
	lab.equal(s.BalloonedInBytes, 0, "in the balloon")
	lab.equal(s.Nonsense, 0, "nonsense")
	must_be_quiet(vm)
end)

lab.test("demand is told, and what changes", function()
	local vm = start({ memory = 512, document = document(128) })
	lab.wait(30, "the guest does not report", function()
		return vm:call("memory_status").DemandInBytes > 0
	end)
	local idle = vm:call("memory_status")
	vm:must("head -c 200000000 /dev/zero >/tmp/m/fill", 60) -- tmpfs counts as promised
	local said = vm:wait_event(lab.names.memory_event, 30, function(e)
		return e.DemandInBytes > idle.DemandInBytes + 100 * MIB
	end)
	lab.log("demand %d MiB, then %d MiB", idle.DemandInBytes // MIB, said.DemandInBytes // MIB)
end)

-- --- memory that is added --------------------------------------------------------------------------------------

local function total(vm)
	return tonumber(vm:must("awk '/MemTotal/ { print $2 }' /proc/meminfo"):match("%d+")) // 1024
end

lab.test("memory is added up to the maximum, and is the guest's", function()
	local vm = start({ memory = 384, document = document(256, 1024) })
	local before = total(vm)
	target(vm, 1024)
	if pae then -- it cannot: that is remembered, and the rest works
		lab.wait(300, "it is asked on and on", function()
			return not vm:call("memory_status").Adds
		end)
		settle(vm, 300)
		return
	end
	await(vm, 1024, 120)
	local after = total(vm)
	lab.check(after >= before + 600, "the guest has %d MiB, it had %d", after, before)
	vm:must("head -c 700000000 /dev/urandom >/tmp/m/fill; sha256sum /tmp/m/fill >/tmp/sum; sha256sum -c /tmp/sum; rm /tmp/m/fill", 300)
	settle(vm, 400, 120) -- and out again, wherever it came from
	settle(vm, 1024)
	vm:refused("memory_target", { SizeInBytes = 1025 * MIB }, 22)
	must_be_quiet(vm)
	-- The next guest has what a machine has at its start, and can be given the same.
	vm:call("reset")
	vm:expect("FH%-OBEY", 90)
	lab.equal(vm:call("memory_status").AssignedInBytes, 384 * MIB, "after a reset")
	vm:sh("echo online >/sys/devices/system/memory/auto_online_blocks")
	vm:must("modprobe hv_balloon pressure_report_delay=0")
	await(vm, 1024, 120) -- the target is still what it was
end)

-- --- saved -----------------------------------------------------------------------------------------------------

lab.test("a machine with pages in its balloon goes on elsewhere", function()
	local c = { memory = 512, document = document(128, pae and 512 or 1024) }
	local vm = start(c)
	if not pae then
		settle(vm, 700, 120)
	end
	settle(vm, 256)
	target(vm, 512) -- and in the middle of a request
	local file = assert(fh.memfd("saved"))
	vm:call("save", { Stream = file }, 120)
	file:seek(0)
	local other = lab.worker({})
	other:restore(c, file)
	other:call("resume")
	await(other, 512, 90)
	settle(other, 264) -- the driver keeps more for itself the more memory the guest has ever had
	must_be_quiet(other)
	vm:stop()
	other:stop()
end)

-- --- guests that do as they like ----------------------------------------------------------------------------------

-- Whoever takes the driver's place does not know of the balloon: its pages are memory as any.
if not pae then -- no kexec_file_load
	lab.test("a kernel that takes another's place uses the pages in its balloon", function()
		local folder = "/guests/" .. kernel .. "/"
		local image, image_size = storage.padded(folder .. "vmlinuz")
		local initrd, initrd_size = storage.padded(folder .. "initrd")
		local vm = start({
			memory = 768, document = document(128),
			disks = {
				{ lun = 0, file = image, serial = "kernel", read_only = true },
				{ lun = 1, file = initrd, serial = "initrd", read_only = true },
			},
		})
		settle(vm, 400)
		vm:say(string.format('guest-tool kexec now $(disk kernel) %d $(disk initrd) %d "$(cat /proc/cmdline)"; echo FH-DID $?\n',
			image_size, initrd_size))
		vm:expect("FH%-KEXEC loaded", 60)
		vm:expect("FH%-OBEY", 120)
		lab.wait(30, "its pages are still in the balloon", function()
			local s = vm:call("memory_status")
			return s.BalloonedInBytes == 0 and s.AssignedInBytes == 768 * MIB
		end)
		vm:must("mkdir -p /tmp/m; mount -t tmpfs -o size=90% m /tmp/m")
		vm:must("head -c 500000000 /dev/urandom >/tmp/m/fill; sha256sum /tmp/m/fill >/tmp/sum; sha256sum -c /tmp/sum; rm /tmp/m/fill", 300)
		vm:must("modprobe hv_balloon pressure_report_delay=0")
		await(vm, 400, 90)
	end)
end

lab.test("a driver that goes and comes again is asked anew", function()
	local vm = start({ memory = 512, document = document(128) })
	settle(vm, 400)
	target(vm, 512)
	await(vm, 512)
	local driver = "/sys/bus/vmbus/drivers/hv_balloon"
	local device = vm:must("cd " .. driver .. "; echo FH-ID *-*"):match("FH%-ID (%S+)")
	vm:must(string.format("echo %s >%s/unbind", device, driver), 30) -- the module itself cannot be unloaded
	lab.wait(10, "the channel is still open", function()
		return vm:call("memory_status").State == "NoDriver"
	end)
	target(vm, 300)
	vm:must(string.format("echo %s >%s/bind", device, driver), 30)
	await(vm, 300)
end)
