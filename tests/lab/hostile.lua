-- hostile.lua - a guest that tries every access there is, and every device (hostile/kernel.c, vmbus.c), neither ends its
-- worker, nor makes it hang, grow or fill its log, nor disturbs the machine beside it. hostile-long is the same with 10 million operations,
-- or as many as L1's command line says: LAB_APPEND=lab.operations=1000000 make lab-long T=hostile-long

local long = lab.variant == "long"
local OPERATIONS = long and 10000 or 5000 -- a seed
local all = tonumber(lab.read("/proc/cmdline"):match("lab%.operations=(%d+)")) or long and 10000000 or 50000
local SEEDS = math.max(1, all // 2 // OPERATIONS) -- of each kernel
local LEAST = SEEDS * 4 -- packets each way, of each kind of device
local STUCK = 10 -- seconds without a word from the guest: it has hit itself
local KINDS = { "storage", "network", "memory", "heartbeat", "shutdown", "time", "facts", "freezing", "copying", "streams" }
local PORT = 2000 -- of streams that it asks for
local MAC = "00-15-5D-66-66-06"
local STREAMS = 8 -- ends that are held here
local LINES = 100 -- of its log: devices by what can be wrong with what they are told
local GROWS = 4096 -- KiB: pools that become memory when they are used, after the first seed
local SETTLED = 2 -- seconds after which a machine that is off has let go of all that was its guest's
local DOCUMENT = {
	ComPorts = { Com2 = true },
	Memory = { Dynamic = true, MinimumSizeInMB = 32, MaximumSizeInMB = 256 },
	Devices = {
		ScsiControllers = 1, Sockets = true, NetworkThreads = 2,
		IntegrationServices = {
			Heartbeat = true, Shutdown = true, TimeSynchronization = true, KeyValuePairExchange = true, VSS = true,
			GuestServiceInterface = true, TimeSampleInSeconds = 1, FactsInSeconds = 1,
		},
	},
}

-- Lines that the guest said since the last look.
local function words(vm)
	lab.pump(200)
	local text, found = vm.console_text, {}
	local last = 0
	for said, at in text:gmatch("\nHK([^\n]*)\n()") do
		found[#found + 1] = said
		last = at - 2 -- the line's end is the next one's beginning
	end
	vm.console_text = text:sub(math.max(last + 1, #text - 200))
	return found
end

local function answers(vm)
	local from = fh.now()
	local status = vm:call("status")
	local took = fh.now() - from
	-- Three busy processors share the emulated one, and that one a busy host.
	lab.check(took < (lab.emulated and 5 or 1) * lab.slow, "status took %.1f s", took)
	return status, took
end

-- --- what is asked of the guest meanwhile, so that its devices have something to say ---------------------------

local function shut(ends)
	for _, fd in ipairs(ends) do
		fd:close()
	end
end

-- A new end of a stream; the oldest goes.
local function stream(vm, method, params)
	local ours, theirs = fh.pair()
	params.File = theirs
	if vm:try(method, params) then
		ours:put(string.rep("stream", 1 + #vm.ends * 500))
		table.insert(vm.ends, ours)
	else
		ours:close()
	end
	theirs:close()
	if #vm.ends > STREAMS then
		table.remove(vm.ends, 1):close()
	end
end

local function copy(vm)
	local file <close> = assert(fh.open("/lab/hostile64"))
	vm:try("guest_copy", { File = file, Name = "f", Path = "/tmp", Overwrite = true })
end

local TARGETS = { 32, 64, 48, 128, 40, 256 }
local asks = {
	function(vm, n) vm:try("memory_target", { SizeInBytes = TARGETS[n % #TARGETS + 1] << 20 }) end,
	function(vm) vm:try("kvp_enumerate", { Pool = "Guest", Refresh = true }) end,
	function(vm, n) vm:try("kvp_set", { Pool = "External", Key = "n" .. n % 20, Value = tostring(n) }) end,
	function(vm) vm:try("guest_freeze", { TimeLimit = 1 }) end,
	function(vm) vm:try("guest_time_sync") end,
	copy,
	function(vm) stream(vm, "socket_connect", { Port = PORT + 1 }) end,
	function(vm) vm:try("guest_shutdown", { Kind = "Restart" }) end,
	function(vm) vm:try("guest_ip_get", { Adapter = MAC:gsub("-", ":"), Family = "IPv4" }) end,
	function(vm) vm:try("guest_copy_cancel") end,
	function(vm) vm:try("guest_thaw") end,
	function(vm, n) vm:try("nic_connect", { Number = 0, Connected = n % 3 ~= 0 }) end,
}

-- One of them, and whatever the guest has asked for. Whether it is refused does not matter: that it is answered does.
local function ask(vm)
	vm.asked = (vm.asked or 0) + 1
	asks[vm.asked % #asks + 1](vm, vm.asked)
	for _, e in ipairs(vm.events) do
		if e.method == lab.names.socket_event and e.params.What == "Requested" and not e.seen then
			e.seen = true
			stream(vm, "socket_accept", { Id = e.params.Id })
		end
	end
	for _, fd in ipairs(vm.ends) do
		fd:read(65536)
	end
	if #vm.events > 500 then
		vm.events, vm.seen = {}, 0
	end
end

-- Frames for the guest from the lab's machine, without end.
local function frames(tap)
	lab.run(string.format("ip link set %s up; ip addr replace 10.66.0.1/24 dev %s; arp -i %s -s 10.66.0.2 %s", tap, tap, tap,
		MAC:gsub("-", ":")))
	return assert(fh.spawn({ "sh", "-c", "exec ping -i 0.05 -s 1200 10.66.0.2 >/dev/null 2>&1" }))
end

-- One seed: until the guest has done all its operations. The machine is off before and after.
local function round(vm, seed, n, sum)
	local total, base, starts, heard = 0, 0, 0, fh.now()
	vm.events, vm.seen = {}, 0 -- those of earlier seeds
	vm:call("start")
	while total < n do
		for _, said in ipairs(words(vm)) do
			heard = fh.now()
			if said:find("^%-READY") then
				lab.equal(said, "-READY 2", "what it finds at its start")
				base, starts = total, starts + 1
				lab.check(starts < 300, "seed %d: the guest starts again and again", seed)
				vm:say(string.format("%d %d\n", seed + 1000 * (starts - 1), n - total))
			elseif said:find("^%-DONE") then
				sum.faults = sum.faults + tonumber(said:match("%-DONE %d+ (%d+)"))
				sum.interrupts = sum.interrupts + tonumber(said:match("%-DONE %d+ %d+ (%d+)"))
				total = n
			elseif said:find("^%-BUS") then
				local n = 0
				for number in said:gmatch("%d+") do
					sum.bus[n] = (sum.bus[n] or 0) + tonumber(number)
					n = n + 1
				end
			elseif said:find("^ %d+$") then
				total = base + tonumber(said)
			end
		end
		lab.check(not vm.gone, "seed %d: the worker ended: %s", seed, lab.read(vm.log))
		local state = vm.state
		if state == "Critical" then
			sum.critical[vm.reason:gsub("%d+", "N", 1)] = true
			sum.criticals = sum.criticals + 1
			vm.state = nil
			vm:call("reset")
		elseif state == "Off" and total < n and vm.reason ~= "created" and vm.reason ~= "requested" then
			sum.offs = sum.offs + 1
			vm.state = nil
			vm:call("start")
			heard = fh.now()
		elseif fh.now() - heard > STUCK * lab.slow then
			local status = answers(vm)
			sum.stuck = sum.stuck + 1
			heard = fh.now()
			lab.check(status.State == "Running", "seed %d: silent and %s", seed, status.State)
			vm:call("reset")
		end
		ask(vm)
		local _, took = answers(vm)
		sum.slowest = math.max(sum.slowest, took)
	end
	shut(vm.ends)
	vm.ends = {}
	vm:call("power_off")
	lab.pump(0)
	words(vm)
	sum.operations, sum.restarts = sum.operations + total, sum.restarts + starts - 1
end

local function size(vm)
	local p = vm:worker()
	return tonumber(p.status:match("RssAnon:%s*(%d+)")), p.threads, p.fds -- without the guest's own memory
end

-- Two disks: one ends in the middle of a sector, and what is behind the last whole one is not the guest's; the other
-- may only be read. And a file beside them that is nobody's.
local SIZE, TAIL = 4 << 20, string.rep("beyond", 40)
local function disk_files(bits)
	local name = string.format("/tmp/hostile%d.", bits)
	for _, f in ipairs({ "disk", "fixed", "beside" }) do
		lab.run(string.format("head -c %d /dev/urandom > %s%s && printf %s >> %s%s", SIZE, name, f, TAIL, name, f))
	end
	return name
end

local function add_disks(vm, name)
	for lun, f in ipairs({ "disk", "fixed" }) do
		local file = assert(fh.open(name .. f, f == "disk" and "rw" or "r"))
		vm:call("disk.add", { Lun = lun - 1, File = file, ReadOnly = f == "fixed" })
		file:close()
	end
end

local function sums(name)
	local n = lab.read(name .. "fixed") .. lab.read(name .. "beside")
	return n, lab.read(name .. "disk"):sub(SIZE + 1)
end

-- That its devices have heard sense and nonsense is told by the worker, too.
local function told_by_worker(vm)
	local nic, memory = vm:call("nic_list").Nics[1], vm:call("memory_status")
	local mistakes = 0
	for _, c in ipairs(vm:call("ic_list").Components) do
		mistakes = mistakes + c.Mistakes
	end
	lab.log("its adapter: %d frames out, %d in, %d without sense, %d spoofed; %d mistakes of components; %d of memory",
		nic.SentUnicast + nic.SentBroadcast + nic.SentMulticast, nic.ReceivedUnicast + nic.ReceivedBroadcast,
		nic.SentErrors, nic.SentSpoofed, mistakes, memory.Nonsense)
	lab.check(nic.SentErrors > 0 and mistakes > 0 and memory.Nonsense > 0, "nothing without sense was heard")
	lab.check(nic.SentBroadcast + nic.SentUnicast > 0 and nic.ReceivedUnicast > 0 and nic.SentSpoofed > 0,
		"no frame went through, or none was refused")
end

-- A line each time that it needs its controller to go on; of what a guest does alone one in all, for each cause.
local function check_log(log, criticals)
	local told, lines = {}, 0
	for line in log:gmatch("[^\n]+") do
		local cause = line:gsub("0x%x+", "N"):gsub("%d+", "N")
		if cause:find("KVM could not") then
			criticals = criticals - 1
		else
			lab.check(not told[cause], "its log has this more than once: %s", line)
			told[cause] = true
			lines = lines + 1
		end
	end
	lab.check(criticals >= 0 and lines < LINES, "its log has %d lines", lines)
end

-- The machine beside it: its checksums, how often it was heard, and how long it was kept waiting for it.
local function check_neighbour(neighbour, seconds)
	neighbour:expect("FH%-TICK")
	local ticks, last, longest = 0, nil, 0
	for at in neighbour.console_text:gmatch("FH%-TICK%-%d+ ([%d.]+)") do
		at = tonumber(at)
		longest = math.max(longest, at - (last or at))
		ticks, last = ticks + 1, at
	end
	lab.log("the neighbour: %d checksums in its %.0f s, one after %.1f s at the latest", ticks, last, longest)
	lab.check(not neighbour.console_text:find("FH%-SPOILT"), "the neighbour's memory was spoilt")
	lab.check(ticks > seconds * (lab.emulated and 0.3 or 0.9), "only %d checksums in %.0f s", ticks, seconds)
	lab.check(longest < (lab.emulated and 10 or 2) * lab.slow, "the neighbour stood still for %.1f s", longest)
	neighbour:expect("FH%-TICK")
end

for _, bits in ipairs({ 64, 32 }) do
	lab.test(string.format("a hostile kernel of %d bits, %d seeds of %d operations", bits, SEEDS, OPERATIONS), function()
		local neighbour = lab.start({ run = "sums" })
		neighbour:expect("FH%-TICK%-1 ")
		local vm = lab.worker({})
		vm.ends = {}
		local name = disk_files(bits)
		local others, tail = sums(name)
		add_disks(vm, name)
		local tap = "fhhostile" .. bits
		vm:add_nic({ mac = MAC, queues = 2, tap = tap })
		vm:create({ image = "/lab/hostile" .. bits, initrd = false, processors = 2, memory = 64, document = DOCUMENT })
		vm:call("socket_listen", { Port = PORT })
		local sender <const> = frames(tap)
		local sum = { operations = 0, restarts = 0, criticals = 0, critical = {}, offs = 0, stuck = 0, faults = 0,
			interrupts = 0, slowest = 0, bus = {} }
		local from, rss, nthreads, fds = fh.now()
		for seed = 1, SEEDS do
			round(vm, seed, OPERATIONS, sum)
			if seed == 1 then
				lab.sleep(SETTLED * lab.slow)
				rss, nthreads, fds = size(vm)
			end
		end
		lab.sleep(SETTLED * lab.slow)
		local rss2, threads2, fds2 = size(vm)
		fh.kill(sender, 9)
		fh.wait(sender, 1000)
		local log = lab.read(vm.log)
		local why = {}
		for reason in pairs(sum.critical) do
			why[#why + 1] = reason
		end
		lab.log("%d operations in %.0f s: %d restarts, %d times critical (%s), off %d, stuck %d; %d faults, %d interrupts",
			sum.operations, fh.now() - from, sum.restarts, sum.criticals, table.concat(why, " / "), sum.offs, sum.stuck,
			sum.faults, sum.interrupts)
		lab.log("slowest status %.2f s, log %d bytes, own memory %d to %d KiB", sum.slowest, #log, rss, rss2)
		check_log(log, sum.criticals)
		lab.check(rss2 - rss < GROWS, "its own memory grew from %d to %d KiB", rss, rss2)
		lab.equal(threads2, nthreads, "threads")
		lab.check(fds2 <= fds, "descriptors grew from %d to %d", fds, fds2)
		local served = { Reads = 0, Writes = 0, Errors = 0 }
		for _, disk in ipairs(vm:call("disk.list").Disks) do
			for what in pairs(served) do
				served[what] = served[what] + disk[what]
			end
		end
		lab.log("its disks: %d reads, %d writes, %d failed", served.Reads, served.Writes, served.Errors)
		lab.check(served.Reads > SEEDS and served.Writes > SEEDS, "hardly anything reached its disks")
		for i, kind in ipairs(KINDS) do
			local sent, got = sum.bus[2 * i - 1] or 0, sum.bus[2 * i] or 0
			lab.log("%-10s %6d packets of the guest, %6d for it", kind, sent, got)
			lab.check(sent >= LEAST and got >= LEAST, "hardly anything reached its device: %s", kind)
		end
		lab.log("%d times shared memory was rewritten", sum.bus[0])
		lab.check(sum.bus[0] >= OPERATIONS // 20 * SEEDS, "shared memory was rewritten %d times", sum.bus[0])
		told_by_worker(vm)
		local others2, tail2 = sums(name)
		lab.check(others2 == others, "a file that it may not write to has changed")
		lab.check(tail2 == tail, "what is behind the end of its disk has changed")
		vm:call("start")
		lab.wait(20, "it does not start any more", function()
			local said = words(vm)
			return said[1] and said[1]:find("^%-READY")
		end)
		vm:call("reset")
		lab.wait(20, "it does not reset any more", function()
			local said = words(vm)
			return said[1] and said[1]:find("^%-READY")
		end)
		check_neighbour(neighbour, fh.now() - from)
		vm:try("quit")
		local how, status = vm:ended(10)
		lab.equal(how .. " " .. status, "exit 0", "quit")
	end)
end

lab.test("a guest that reports panics without end is told of seldom", function()
	local vm = lab.worker({})
	vm:create({ image = "/lab/hostile64", initrd = false, memory = 64 })
	vm:call("start")
	vm:expect("HK%-READY")
	vm:say("0 30000\n")
	lab.sleep(5 * lab.slow) -- and nobody reads what it has to tell
	fh.sleep(5 * lab.slow)
	vm:expect("HK%-DONE", 120)
	vm:wait("off", 20)
	local told = 0
	for _, event in ipairs(vm.events) do
		told = told + (event.method == lab.names.panic_event and 1 or 0)
	end
	local panics = vm:call("status").Panics
	lab.log("%d panics counted, %d told, log %d bytes", panics, told, #lab.read(vm.log))
	lab.check(panics > 100, "%d panics were counted", panics)
	lab.check(told >= 2 and told < 100, "%d panics were told", told)
	lab.check(#lab.read(vm.log) < 1024, "its log has %d bytes", #lab.read(vm.log))
end)
