-- smp.lua - several processors: topology as the document says, interrupts between them, TLB flushes, NMI.

local function topology(vm)
	local text, rows = vm:expect("(.-)FH%-END topology"), {}
	for cpu, socket, core, threads, node in text:gmatch("FH%-CPU (%d+) socket (%d+) core (%d+) threads (%S+) node (%d*)") do
		rows[#rows + 1] = { cpu = tonumber(cpu), socket = tonumber(socket), core = tonumber(core), threads = threads,
			node = tonumber(node) }
	end
	return rows
end

local function different(rows, key)
	local seen, n = {}, 0
	for _, r in ipairs(rows) do
		if not seen[r[key]] then
			seen[r[key]], n = true, n + 1
		end
	end
	return n
end

lab.test("2 sockets of 2 cores of 2 threads", function()
	local vm = lab.start({ processors = 8, run = "topology,poweroff",
		document = { Processor = { ThreadsPerCore = 2, CoresPerSocket = 2 } } })
	local rows = topology(vm)
	lab.equal(#rows, 8, "processors")
	lab.equal(different(rows, "socket"), 2, "sockets")
	lab.equal(different(rows, "threads"), 4, "groups of threads")
	lab.equal(rows[1].threads, "0-1", "threads of the first core")
	vm:wait("off")
end)

lab.test("2 NUMA nodes with their processors and memory", function()
	local vm = lab.start({ processors = 4, memory = 512, run = "topology,poweroff", document = {
		Processor = { CoresPerSocket = 2 },
		Numa = { Nodes = { { MemorySizeInMB = 256, ProcessorCount = 2 }, { MemorySizeInMB = 256, ProcessorCount = 2 } } },
	} })
	local rows = topology(vm)
	lab.equal(different(rows, "node"), 2, "nodes")
	lab.equal(rows[1].node, rows[2].node, "node of processor 1")
	lab.equal(rows[3].node, rows[4].node, "node of processor 3")
	vm:wait("off")
end)

for _, kernel in ipairs({ "cloud-6.12", "cloud-6.1" }) do
	lab.test(kernel .. " on 4 processors: memory is right while they flush each other's TLBs", function()
		local vm = lab.start({ kernel = kernel, processors = 4, run = "busy,report,warnings", append = "fh.seconds=5" })
		local rounds, errors = vm:expect("FH%-BUSY%-END (%d+) rounds (%d+) errors", 90)
		lab.equal(errors, "0", "errors")
		local r = vm:report()
		lab.check(r.interrupts.RES + r.interrupts.CAL > 50, "few interrupts between processors: %s", r.text)
		lab.log("%s rounds, %d rescheduling and %d call interrupts", rounds, r.interrupts.RES, r.interrupts.CAL)
		vm:no_warnings(kernel)
	end)
end

-- How many of the worker's threads use over a tenth of the host's processor for so many seconds.
local function busy_threads(vm, seconds)
	local task = "/proc/" .. vm:worker().pid .. "/task/"
	local function used(thread)
		local user, system = lab.read(task .. thread .. "/stat"):match("%) %S+ " .. ("%S+ "):rep(10) .. "(%d+) (%d+)")
		return (user + system) / 100
	end
	local before, busy = {}, 0
	for _, thread in ipairs(fh.list(task)) do
		before[thread] = used(thread)
	end
	lab.sleep(seconds)
	for thread, then_ in pairs(before) do
		busy = busy + (used(thread) - then_ > seconds / 10 and 1 or 0)
	end
	return busy
end

-- Linux starts one of the two and leaves the other waiting; the one that runs is idle for most of a second.
lab.test("an NMI reaches an idle processor at once, and wakes none that was never started", function()
	local vm = lab.start({ processors = 2, run = "tick", append = "maxcpus=1 unknown_nmi_panic panic=0" })
	vm:expect("FH%-TICK")
	vm:call("nmi", {}, 10)
	vm:wait_event(lab.names.panic_event, 30)
	vm:expect("end Kernel panic", 60)
	lab.check(busy_threads(vm, 4) <= 1, "more is busy than the processor that waits in its panic")
end)
