-- hostile.lua - a guest that tries every access there is (hostile/kernel.c) neither ends its worker, nor makes it
-- hang, grow or fill its log, nor disturbs the machine beside it. hostile-long is the same with 10 million operations,
-- or as many as L1's command line says: LAB_APPEND=lab.operations=1000000 make lab-long T=hostile-long

local long = lab.variant == "long"
local OPERATIONS = long and 25000 or 10000 -- a seed
local all = tonumber(lab.read("/proc/cmdline"):match("lab%.operations=(%d+)")) or long and 10000000 or 100000
local SEEDS = math.max(1, all // 2 // OPERATIONS) -- of each kernel
local STUCK = 10 -- seconds without a word from the guest: it has hit itself

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
		local _, took = answers(vm)
		sum.slowest = math.max(sum.slowest, took)
	end
	vm:call("power_off")
	lab.pump(0)
	words(vm)
	sum.operations, sum.restarts = sum.operations + total, sum.restarts + starts - 1
end

local function size(vm)
	local p = vm:worker()
	return tonumber(p.status:match("RssAnon:%s*(%d+)")), p.threads, p.fds -- without the guest's own memory
end

for _, bits in ipairs({ 64, 32 }) do
	lab.test(string.format("a hostile kernel of %d bits, %d seeds of %d operations", bits, SEEDS, OPERATIONS), function()
		local neighbour = lab.start({ run = "tick" })
		neighbour:expect("FH%-TICK%-1 ")
		local vm = lab.worker({})
		vm:create({ image = "/lab/hostile" .. bits, initrd = false, processors = 2, memory = 64,
			document = { ComPorts = { Com2 = true } } })
		local sum = { operations = 0, restarts = 0, criticals = 0, critical = {}, offs = 0, stuck = 0, faults = 0,
			interrupts = 0, slowest = 0 }
		local from, rss, nthreads, fds = fh.now()
		for seed = 1, SEEDS do
			round(vm, seed, OPERATIONS, sum)
			if seed == 1 then
				rss, nthreads, fds = size(vm)
			end
		end
		local rss2, threads2, fds2 = size(vm)
		local log = lab.read(vm.log)
		local why = {}
		for reason in pairs(sum.critical) do
			why[#why + 1] = reason
		end
		lab.log("%d operations in %.0f s: %d restarts, %d times critical (%s), off %d, stuck %d; %d faults, %d interrupts",
			sum.operations, fh.now() - from, sum.restarts, sum.criticals, table.concat(why, " / "), sum.offs, sum.stuck,
			sum.faults, sum.interrupts)
		lab.log("slowest status %.2f s, log %d bytes, own memory %d to %d KiB", sum.slowest, #log, rss, rss2)
		-- A line each time that it needs its controller to go on; of what a guest does alone, one in all.
		lab.check(#log < 1024 + 160 * sum.criticals, "its log has %d bytes after %d times critical", #log, sum.criticals)
		lab.check(rss2 - rss < 1024, "its own memory grew from %d to %d KiB", rss, rss2)
		lab.equal(threads2, nthreads, "threads")
		lab.equal(fds2, fds, "descriptors")
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
		neighbour:expect("FH%-TICK")
		local ticks = tonumber(neighbour.console_text:match(".*FH%-TICK%-(%d+)"))
		local clock = tonumber(neighbour.console_text:match(".*FH%-TICK%-%d+ ([%d.]+)"))
		lab.log("the neighbour's heartbeat: %d in its %.0f s", ticks, clock)
		lab.check(ticks > (fh.now() - from) * (lab.emulated and 0.3 or 0.9), "only %d heartbeats in %.0f s", ticks, fh.now() - from)
		neighbour:expect("FH%-TICK")
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
