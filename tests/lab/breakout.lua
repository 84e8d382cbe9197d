-- breakout.lua - from inside a worker, with a worker that has a way in (back_door/), everything is tried that
-- its walls are there for; from outside, what they look like and what a worker that is killed leaves behind.

local function show(findings)
	return string.format("%d of %d held", findings.Held, findings.Tried)
end

-- A machine in the worker with the way in; `without` names the walls that are left out.
local function open_worker(without)
	local vm = lab.start({ program = "fh-worker-open", environment = "FH_BACK_DOOR=" .. (without or ""), run = "idle" })
	vm:expect("FH%-IDLE")
	return vm
end

local function try(vm, thread, what)
	local found = vm:call("breakout", { Thread = thread, Try = what }, 120)
	lab.check(found.Held == found.Tried, "%s thread, %s: %s: %s", thread, what, show(found), found.Open)
	return found
end

local function each_thread(vm, what)
	local sum = { Tried = 0, Held = 0 }
	for _, thread in ipairs({ "control", "processor" }) do
		local found = try(vm, thread, what)
		sum.Tried, sum.Held = sum.Tried + found.Tried, sum.Held + found.Held
	end
	lab.log("%s: %s", what, show(sum))
	lab.check(sum.Tried > 0, "nothing was tried")
end

-- --- what the kernel carried out -----------------------------------------------------------------------

local TRACE = "/sys/kernel/tracing/"

local function tasks(vm)
	return fh.list("/proc/" .. vm:worker().pid .. "/task")
end

local function trace(events, pids)
	lab.write(TRACE .. "tracing_on", "0")
	lab.write(TRACE .. "set_event", "")
	lab.write(TRACE .. "buffer_size_kb", "16384")
	lab.write(TRACE .. "set_event_pid", table.concat(pids, " "))
	lab.write(TRACE .. "trace", "")
	for _, event in ipairs(events) do
		lab.write(TRACE .. "events/" .. event .. "/enable", "1")
	end
	lab.write(TRACE .. "tracing_on", "1")
end

local function traced()
	lab.write(TRACE .. "tracing_on", "0")
	lab.write(TRACE .. "set_event", "")
	local text = lab.read(TRACE .. "trace")
	lab.write(TRACE .. "set_event_pid", "")
	lab.write(TRACE .. "trace", "")
	return text
end

-- The numbers of system calls in a trace, of one thread or of all: { number = times }, how many there are.
local function calls_in(text, tid)
	local calls, n = {}, 0
	for task, nr in text:gmatch("%-(%d+)%s+%[[^\n]-sys_enter: NR (%-?%d+)") do
		nr = tonumber(nr)
		if not tid or task == tid then
			n = n + (calls[nr] and 0 or 1)
			calls[nr] = (calls[nr] or 0) + 1
		end
	end
	return calls, n
end

-- --- from inside -----------------------------------------------------------------------------------------

lab.test("the worker that is shipped has no way in", function()
	lab.check(not lab.read("/bin/fh-worker"):find("breakout", 1, true), "fh-worker knows the word")
	lab.check(lab.read("/bin/fh-worker-open"):find("breakout", 1, true), "fh-worker-open does not know the word")
	local vm = lab.start({ run = "idle" })
	vm:refused("breakout", { Thread = "control", Try = "calls" }, nil, "no method")
end)

lab.test("no system call outside its list is carried out, on any thread", function()
	local vm = open_worker()
	for _, thread in ipairs({ "control", "processor" }) do
		local allowed = {}
		for nr in vm:call("breakout", { Thread = thread, Try = "list" }).Open:gmatch("%d+") do
			allowed[tonumber(nr)] = true
		end
		trace({ "raw_syscalls/sys_enter" }, tasks(vm))
		local found = try(vm, thread, "calls")
		try(vm, thread, "named")
		local done, n = calls_in(traced())
		for nr in pairs(done) do
			-- While a processor tries, the control thread waits for it.
			lab.check(allowed[nr] or thread == "processor", "call %d was carried out", nr)
		end
		lab.log("%s thread: %s; the kernel carried out %d different calls meanwhile", thread, show(found), n)
	end
	lab.equal(vm:call("status").State, "Running", "state")
end)

lab.test("files, sockets, processes, executable memory: none can be had", function()
	each_thread(open_worker(), "named")
end)

lab.test("no allowed call takes a forbidden argument", function()
	each_thread(open_worker(), "arguments")
end)

for _, how in ipairs({ "int80", "x32" }) do
	for _, thread in ipairs({ "control", "processor" }) do
		lab.test(string.format("a call by another architecture's numbers ends the process: %s, %s thread", how, thread), function()
			local vm = open_worker()
			local result, why = vm:try("breakout", { Thread = thread, Try = how }, 20)
			lab.check(not result, "it was answered: %s", result and result.Open)
			local exit, status = vm:ended(10)
			lab.equal(exit .. " " .. status, "exit 1", "the foreground process: " .. tostring(why))
			lab.check(lab.read(vm.log):find("ended by signal 31"), "its log: %s", lab.read(vm.log))
		end)
	end
end

lab.test("the one call that Linux lets past every filter ends who makes it", function()
	local vm = open_worker()
	local result, why = vm:try("breakout", { Thread = "processor", Try = "uretprobe" }, 20)
	if result then
		lab.equal(result.Held, 1, "held: " .. result.Open)
	else
		vm:ended(10)
		lab.check(lab.read(vm.log):find("ended by signal 4\n"), "%s: %s", why, lab.read(vm.log))
	end
end)

for _, without in ipairs({ "seccomp", "seccomp,landlock", "seccomp,files" }) do
	lab.test("the other walls hold by themselves, without " .. without, function()
		local listener <close> = assert(fh.listen(7777))
		local abstract <close> = assert(fh.abstract("breakout"))
		local vm = open_worker(without)
		for _, what in ipairs({ "files", "network", "rights", "processes" }) do
			each_thread(vm, what)
		end
	end)
end
