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
	local allowed = {} -- to the threads so far: while a processor tries, the control thread waits for it
	for _, thread in ipairs({ "control", "processor" }) do
		for nr in vm:call("breakout", { Thread = thread, Try = "list" }).Open:gmatch("%d+") do
			allowed[tonumber(nr)] = true
		end
		trace({ "raw_syscalls/sys_enter" }, tasks(vm))
		local found = try(vm, thread, "calls")
		try(vm, thread, "named")
		local done, n = calls_in(traced())
		for nr in pairs(done) do
			lab.check(allowed[nr], "call %d was carried out", nr)
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

-- The lab's machine runs from an initramfs, which cannot be pivoted away; the appliance does not.
lab.test("where the root can be changed, nothing of the old one can be reached", function()
	lab.write("/run/rooted", [[#!/bin/sh
mkdir -p /run/new
exec unshare -m sh -c 'mount -t tmpfs new /run/new && cd /run/new && mkdir bin dev sys run proc &&
cp /bin/fh-worker-open bin/ && mount --rbind /dev dev && mount --rbind /sys sys && mount --bind /run run &&
mount --move . / && exec chroot . /bin/fh-worker-open "$@"' - "$@"
]])
	lab.run("chmod +x /run/rooted")
	local vm = lab.start({ program = "/run/rooted", environment = "FH_BACK_DOOR=seccomp,landlock", run = "idle" })
	vm:expect("FH%-IDLE")
	for _, what in ipairs({ "files", "rights" }) do
		each_thread(vm, what)
	end
	lab.equal(lab.read("/proc/" .. vm:worker().pid .. "/mountinfo"), "", "the mounts it can reach")
end)

-- --- from outside ----------------------------------------------------------------------------------------

-- What `fn` says of every thread of a worker.
local function threads(vm, fn)
	local pid = vm:worker().pid
	for _, tid in ipairs(fh.list("/proc/" .. pid .. "/task")) do
		fn(lab.read("/proc/" .. pid .. "/task/" .. tid .. "/status"), tid)
	end
end

lab.test("every thread has its walls before there is a guest", function()
	local vm = lab.worker({})
	vm:create({ processors = 3, run = "idle" })
	local n = 0
	threads(vm, function(status, tid)
		n = n + 1
		for name, value in pairs({ Seccomp = "2", NoNewPrivs = "1", CapEff = "0+", CapPrm = "0+", CapInh = "0+",
			CapBnd = "0+", CapAmb = "0+", Groups = "" }) do
			lab.check(status:find("\n" .. name .. ":%s*" .. value .. "%s*\n"), "thread %s: no %s %s", tid, name, value)
		end
	end)
	lab.equal(n, 4, "threads")
	lab.equal(vm:call("status").State, "Off", "state")
	for _, ns in ipairs({ "mnt", "net", "ipc", "pid", "uts", "cgroup" }) do
		local mine, its = fh.readlink("/proc/self/ns/" .. ns), fh.readlink("/proc/" .. vm:worker().pid .. "/ns/" .. ns)
		lab.check(its and mine ~= its, "it shares the %s namespace", ns)
	end
end)

lab.test("no thread enters the guest before its own filter and the control thread's", function()
	lab.write(TRACE .. "trace_options", "event-fork")
	trace({ "syscalls/sys_enter_seccomp", "kvm/kvm_entry" }, { fh.pid() })
	local vm = lab.start({ processors = 2, run = "idle" })
	vm:expect("FH%-IDLE")
	local text, control, closed, entries = traced(), tostring(vm:worker().pid), {}, {}
	lab.write(TRACE .. "trace_options", "noevent-fork")
	for task, event in text:gmatch("%-(%d+)%s+%[[^\n]-: ([%a_]+)") do
		if event == "sys_seccomp" then
			closed[task] = true
		elseif event == "kvm_entry" then
			lab.check(closed[task] and closed[control], "thread %s entered the guest before a filter", task)
			entries[task] = (entries[task] or 0) + 1
		end
	end
	local n = 0
	for _ in pairs(entries) do
		n = n + 1
	end
	lab.equal(n, 2, "threads seen to enter the guest")
end)

lab.test("it holds the descriptors that it needs and no other", function()
	local vm = lab.start({ processors = 2, run = "idle" })
	vm:expect("FH%-IDLE")
	local pid, have = vm:worker().pid, {}
	for _, fd in ipairs(fh.list("/proc/" .. pid .. "/fd")) do
		local to = fh.readlink("/proc/" .. pid .. "/fd/" .. fd)
		have[#have + 1] = to:gsub("socket:.*", "socket"):gsub("anon_inode:", ""):gsub(" %(deleted%)", "")
	end
	table.sort(have)
	-- The sockets are the listener, the controller's connection, and the console; the eventfds one that wakes the
	-- control thread, one for an interrupt page's signals, and one that interrupts each processor.
	lab.equal(table.concat(have, " "), table.concat({ "/dev/kvm", "/dev/null", "/dev/null",
		"/guests/cloud-6.12/initrd", "/guests/cloud-6.12/vmlinuz", "/memfd:guest-ram", vm.log, "[eventfd]", "[eventfd]",
		"[eventfd]", "[eventfd]", "[timerfd]",
		"kvm-vcpu:0", "kvm-vcpu:1", "kvm-vm", "socket", "socket", "socket" }, " "), "descriptors")
end)

lab.test("nobody but root looks into it, not even its own user", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	lab.run(string.format("echo 'worker:x:%d:%d::/:/bin/sh' >>/etc/passwd", vm.uid, vm.uid))
	local pid = vm:worker().pid
	lab.equal(lab.run("su worker -c 'id -u'"), vm.uid .. "\n", "the user that looks")
	for _, name in ipairs({ "environ", "maps", "mem", "auxv", "io", "stack", "syscall", "smaps", "pagemap" }) do
		local text, status = lab.run(string.format("su worker -c 'head -c 1 /proc/%d/%s'", pid, name))
		lab.check(status ~= 0, "%s can be read: %s", name, text)
	end
	for _, name in ipairs({ "exe", "root", "cwd", "fd/0", "ns/net" }) do
		local text, status = lab.run(string.format("su worker -c 'readlink /proc/%d/%s'", pid, name))
		lab.check(status ~= 0, "%s can be followed: %s", name, text)
	end
	local _, status = lab.run(string.format("su worker -c 'ls /proc/%d/fd'", pid))
	lab.check(status ~= 0, "its descriptors can be listed")
	lab.run("sed -i /^worker:/d /etc/passwd")
end)

lab.test("a running processor makes few different system calls", function()
	local vm = lab.worker({})
	vm:create({ run = "report" })
	trace({ "raw_syscalls/sys_enter" }, tasks(vm))
	vm:call("start")
	vm:expect("FH%-END report", 90)
	local text, control, list = traced(), tostring(vm:worker().pid), {}
	for _, tid in ipairs(tasks(vm)) do
		local calls, n = calls_in(text, tid)
		list = {}
		for nr, times in pairs(calls) do
			list[#list + 1] = string.format("%d (%d times)", nr, times)
		end
		table.sort(list)
		if n > 0 then -- KVM has threads of its own in the process
			lab.log("%s thread, from power-on to a shell: %d different calls: %s",
				tid == control and "control" or "processor", n, table.concat(list, ", "))
			lab.check(n <= (tid == control and 20 or 5), "%d different calls", n)
		end
	end
end)

-- --- what is left behind ---------------------------------------------------------------------------------

-- Everything of the host that a worker takes: each thing by its name.
local function taken()
	local all = {}
	for _, name in ipairs(fh.list("/proc")) do
		for _, ns in ipairs(name:match("^%d+$") and fh.list("/proc/" .. name .. "/ns") or {}) do
			all[fh.readlink("/proc/" .. name .. "/ns/" .. ns) or "gone"] = true
		end
		local p = name:match("^%d+$") and lab.process(tonumber(name))
		if p and p.name:find("^fh%-worker") and p.state ~= "Z" then
			all["process " .. name] = true
		end
	end
	for _, name in ipairs(fh.list("/sys/kernel/debug/kvm")) do
		all[name:match("^%d+%-%d+$") and "KVM " .. name or "gone"] = true
	end
	for _, name in ipairs(fh.list("/run/lab")) do
		all[name:match("%.sock$") and "socket " .. name or "gone"] = true
	end
	for line in lab.read("/proc/mounts"):gmatch("[^\n]+") do
		all["mount " .. line:gsub("size=%d+k,?", "")] = true
	end
	all.gone = nil
	return all
end

local function difference(now, before)
	local more = {}
	for name in pairs(now) do
		if not before[name] then
			more[#more + 1] = name
		end
	end
	return table.concat(more, ", ")
end

local function available()
	return tonumber(lab.read("/proc/meminfo"):match("MemAvailable:%s*(%d+)")) >> 10
end

local ways = {
	{ "the worker", function(vm) fh.kill(vm:worker().pid, 9) end },
	{ "its foreground process", function(vm) fh.kill(vm.pid, 9) end, "socket" },
	{ "its control group", function(vm) lab.write(vm.cgroup .. "/cgroup.kill", "1") end },
}

for _, way in ipairs(ways) do
	lab.test("kill -9 of " .. way[1] .. " leaves nothing behind, and its neighbour is well", function()
		local neighbour = lab.start({ run = "tick" })
		neighbour:expect("FH%-TICK")
		local before, free = taken(), available()
		local vm = lab.start({ memory = 512, processors = 2, run = "memsum,load,idle", append = "fh.mib=300 fh.above=0" })
		vm:expect("FH%-IDLE", 90)
		lab.check(difference(taken(), before):find("KVM"), "the worker is not seen: %s", difference(taken(), before))
		local used = free - available()
		lab.check(used > 250, "the worker takes %d MiB only", used)
		local worker = vm:worker().pid
		way[2](vm)
		vm:ended(20)
		fh.wait(worker, 5000) -- when it came to us
		os.remove(way[3] and vm.socket or "") -- nobody is left who could
		lab.wait(20, "something stays behind", function()
			return difference(taken(), before) == ""
		end)
		lab.wait(20, "its memory does not come back", function() -- the neighbour takes some meanwhile
			return tonumber(lab.read(vm.cgroup .. "/memory.current")) < 1 << 20 and free - available() < used - 250
		end)
		lab.check(lab.read(vm.cgroup .. "/cgroup.events"):find("populated 0"), "its control group is not empty")
		neighbour:expect("FH%-TICK")
		neighbour:expect("FH%-TICK")
	end)
end

-- --- a host that lacks something --------------------------------------------------------------------------

local lacking = {
	{ "KVM", "(mv /dev/kvm /dev/kvm.away; %s; s=$?; mv /dev/kvm.away /dev/kvm; exit $s)", "no KVM" },
	{ "access to KVM", "unshare -m sh -c 'mount --bind /dev /dev; mount -o remount,bind,nodev /dev; exec %s'",
		"/dev/kvm" },
	{ "a KVM that is one", "unshare -m sh -c 'mount --bind /dev/null /dev/kvm; exec %s'", "another version of KVM" },
}

for _, what in ipairs(lacking) do
	lab.test("on a host without " .. what[1] .. " it says so in one sentence and leaves nothing", function()
		local before = taken()
		local text, status = lab.run(what[2]:format(
			"fh-worker --socket /run/lab/lacking.sock --uid 60999 --gid 60999 --foreground"))
		lab.equal(status, 3, "exit status")
		lab.check(text:find("^<3>fh%-worker: [^\n]*\n$") and text:find(what[3], 1, true), "it says: %s", text)
		lab.equal(difference(taken(), before), "", "left behind")
	end)
end
