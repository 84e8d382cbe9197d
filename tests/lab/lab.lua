-- lab.lua - what scenarios are written with.
--
--   lab.test("sentence", function() ... end)     runs it; PASS or FAIL; ends every machine it started
--   lab.check(condition, "why it matters")       lab.equal(got, wanted, "what")    lab.skip("why")
--   vm = lab.start{ kernel = "cloud-6.12", processors = 2, memory = 256, run = "report,idle", append = "...",
--                   console = false (no serial port), document = { ... merged into the machine's document ... } }
--   vm:expect("pattern", seconds) -> captures    waits for it on the guest's console, after what was found last
--   vm:call("pause", {...}) -> result            raises when it fails; vm:try(...) returns nil, sentence, errno
--   vm:wait("off", seconds)                      waits for the event that says so (lab.names.states)
--   vm:say("text\n")                             types on the guest's console
--   vm:sh("command", seconds) -> text, status    has a guest with run = "obey" do it
--   disks = { { lun = 0, file = "/tmp/a", serial = "root", kind = "Dvd", read_only = true, how = "direct", more = {...} } }
--   vm:stop()                                    ends the worker
--
-- While a scenario waits in any of these, all consoles and events of all its machines are collected.

local lab = {}
local vms = {} -- those of the running test
local count = 0

-- Emulated processors are slow, and Bochs is slower: every time limit is multiplied with this.
lab.slow = tonumber(os.getenv("LAB_SLOW") or "1")
lab.emulated = os.getenv("LAB_ACCEL") == "tcg"
lab.role = os.getenv("LAB_ROLE")
lab.address = os.getenv("LAB_ADDRESS")
lab.peer = os.getenv("LAB_PEER")

-- The worker's methods, events and states, should their names ever move: here only.
lab.names = {
	methods = {
		create = "create", start = "start", pause = "pause", resume = "resume", reset = "reset",
		power_button = "power_button", power_off = "power_off", nmi = "nmi", status = "status",
		statistics = "statistics", console = "console.attach", detach = "console.detach", save = "save", restore = "restore",
		memory_add = "memory.add", memory_target = "memory.target", memory_status = "memory.status", quit = "quit", disk_add = "disk.add", disk_remove = "disk.remove",
		disk_insert = "disk.insert", disk_limit = "disk.limit", disk_resized = "disk.resized", disk_list = "disk.list",
		socket_listen = "socket.listen", socket_unlisten = "socket.unlisten", socket_accept = "socket.accept",
		socket_refuse = "socket.refuse", socket_connect = "socket.connect", socket_list = "socket.list",
		ic_list = "ic.list", ic_set = "ic.set", guest_shutdown = "guest.shutdown", guest_time_sync = "guest.time.sync",
		kvp_get = "kvp.get", kvp_set = "kvp.set", kvp_delete = "kvp.delete", kvp_enumerate = "kvp.enumerate",
		guest_ip_get = "guest.ip.get", guest_ip_set = "guest.ip.set", guest_freeze = "guest.freeze",
		guest_thaw = "guest.thaw", guest_copy = "guest.copy", guest_copy_cancel = "guest.copy.cancel",
		nic_add = "nic.add", nic_remove = "nic.remove", nic_connect = "nic.connect", nic_list = "nic.list",
	},
	states = { off = "Off", running = "Running", paused = "Paused", saved = "Saved", critical = "Critical" },
	state_event = "state",
	panic_event = "panic",
	disk_event = "disk",
	memory_event = "memory",
	socket_event = "socket",
	integration_event = "integration",
	nic_event = "nic",
}

-- --- results -----------------------------------------------------------------------------------------

local SKIP = {}

local failure = { __tostring = function(e) return e.why end }

function lab.fail(why, ...)
	error(setmetatable({ why = string.format(why, ...) }, failure), 0)
end

function lab.check(condition, why, ...)
	if not condition then
		lab.fail(why or "check failed", ...)
	end
	return condition
end

local function show(v)
	return type(v) == "table" and fh.encode(v) or tostring(v)
end

function lab.equal(got, wanted, what)
	if got ~= wanted then
		lab.fail("%s is %s, not %s", what or "value", show(got), show(wanted))
	end
end

function lab.skip(why)
	error({ [SKIP] = true, why = why }, 0)
end

function lab.log(text, ...)
	print("     " .. string.format(text, ...))
end

local function last_lines(text, n, prefix)
	local all = {}
	for line in text:gmatch("[^\n]+") do
		all[#all + 1] = prefix .. line
	end
	print(table.concat(all, "\n", math.max(1, #all - n + 1)))
end

-- What each thread of a worker does that does not answer: where it is in the kernel, its system call, and where it was
-- called from (to be looked up in the worker's symbols, from the first address of its program on).
local function show_threads(vm)
	local p = vm:worker()
	print(string.format("--- %s: its program is at %s", vm.title, (lab.read("/proc/" .. p.pid .. "/maps") or "?"):match("[^\n]*")))
	for _, id in ipairs(fh.list("/proc/" .. p.pid .. "/task") or {}) do
		local task = "/proc/" .. p.pid .. "/task/" .. id .. "/"
		local stat = lab.read(task .. "stat") or ""
		local state, user, system = stat:match("%) (%S)"), stat:match("%) " .. string.rep("%S+ ", 11) .. "(%d+) (%d+)")
		print(string.format("thread| %s %s, ticks %s %s, %s, call %s", id, state, user, system, lab.read(task .. "wchan") or "",
			(lab.read(task .. "syscall") or ""):match("[^\n]*")))
		last_lines(lab.read(task .. "stack") or "", 12, "thread|    ")
	end
end

local function show_machines()
	for _, vm in ipairs(vms) do
		print(string.format("--- %s: console (last 200 lines)", vm.title))
		last_lines(vm.console_text, 200, "L2| ")
		print(string.format("--- %s: worker's log, events", vm.title))
		last_lines(lab.read(vm.log) or "", 50, "fh-worker| ")
		for i = math.max(1, #vm.events - 40), #vm.events do
			print("event| " .. fh.encode(vm.events[i]))
		end
	end
	print("--- the lab machine's kernel log")
	last_lines(lab.run("dmesg"), 40, "L1| ")
end

-- The emulator now and then delivers an interrupt while they are disabled (docs/performance.md, "Limits"). What that
-- does to a guest nothing else can: its kernel faults in the first instructions of a system call, still on the program's
-- stack; or its only processor waits for a spin lock, and so for ever. run.sh then does the scenario again.
local LOCK = 512 -- bytes of a spin lock's slow path
local HLT = 0x78
local function spins()
	local exits, keys = "/sys/kernel/tracing/events/kvm/kvm_exit/", "hist:keys=exit_reason,guest_rip.hex"
	lab.write("/sys/kernel/tracing/tracing_on", "1")
	lab.write(exits .. "trigger", keys)
	fh.sleep(0.5)
	local text, low, high = lab.read(exits .. "hist") or "", nil, nil
	lab.write(exits .. "trigger", "!" .. keys)
	for reason, rip in text:gmatch("exit_reason: *(%d+), *guest_rip: *(%x+)") do
		if tonumber(reason) == HLT or not rip:find("^ffffffff") then
			return
		end
		rip = tonumber(rip:sub(9), 16)
		low, high = math.min(low or rip, rip), math.max(high or rip, rip)
	end
	if low and high - low < LOCK then
		return string.format("spins at ffffffff%x", low)
	end
end

local function emulators_fault()
	local what
	for _, vm in ipairs(vms) do
		what = what or vm.console_text:match("double fault:.-RIP: 0010:(entry_SYS%u+_%w+%+0x%x+)")
	end
	if not what and #vms == 1 and vms[1].processors == 1 and vms[1].state == "Running" then
		local looked, where = pcall(spins)
		what = looked and where
	end
	if lab.emulated and what then
		print("EMULATOR interrupted a guest that had interrupts disabled: " .. what)
	end
end

local function end_machines()
	for i = #vms, 1, -1 do
		pcall(vms[i].stop, vms[i])
		vms[i] = nil
	end
end

function lab.test(sentence, fn)
	local from = fh.now()
	local ok, e = xpcall(fn, function(e)
		return type(e) == "table" and e or { why = debug.traceback(tostring(e), 2):gsub("\n%s*", " | ") }
	end)
	if ok then
		print(string.format("PASS %s: %s (%.1f s)", lab.name, sentence, fh.now() - from))
	elseif e[SKIP] then
		print(string.format("SKIP %s: %s: %s", lab.name, sentence, e.why))
	else
		lab.failed = true
		print(string.format("FAIL %s: %s: %s", lab.name, sentence, e.why:gsub("%s*\n%s*", " "):sub(1, 800)))
		show_machines()
		emulators_fault()
	end
	end_machines()
	return ok
end

-- --- files, processes ----------------------------------------------------------------------------------

function lab.read(path)
	local f = io.open(path, "r")
	if not f then
		return nil
	end
	local text = f:read("a")
	f:close()
	return text
end

function lab.write(path, text)
	local f = assert(io.open(path, "w"))
	f:write(text)
	f:close()
end

-- Runs a shell command: what it printed, and its exit status.
function lab.run(command)
	local p = assert(io.popen(command .. " 2>&1"))
	local text = p:read("a")
	local _, _, status = p:close()
	return text, status
end

-- Its threads but for those that the kernel makes for a ring of its (io_uring), which come and go.
local function own_threads(pid)
	local n = 0
	for _, tid in ipairs(fh.list("/proc/" .. pid .. "/task") or {}) do
		local name = lab.read("/proc/" .. pid .. "/task/" .. tid .. "/comm") or ""
		n = n + (name:find("^iou%-") and 0 or 1)
	end
	return n
end

-- What /proc says about a process: threads, descriptors, resident KiB, capabilities, seccomp mode, parent.
function lab.process(pid)
	local text = lab.read("/proc/" .. pid .. "/status")
	if not text then
		return nil
	end
	local function number(name)
		return tonumber(text:match("\n" .. name .. ":%s*(%d+)"))
	end
	return {
		pid = pid,
		name = text:match("^Name:%s*(%S+)"),
		state = text:match("\nState:%s*(%S)"),
		parent = number("PPid"),
		threads = own_threads(pid),
		fds = #(fh.list("/proc/" .. pid .. "/fd") or {}),
		rss = number("VmRSS") or 0,
		uid = number("Uid"),
		gid = number("Gid"),
		capabilities = text:match("\nCapEff:%s*(%x+)"),
		permitted = text:match("\nCapPrm:%s*(%x+)"),
		no_new_privs = number("NoNewPrivs"),
		seccomp = number("Seccomp"),
		status = text,
	}
end

-- A process and all that came from it.
function lab.processes(root)
	local parent, found, more = {}, {}, { root }
	for _, name in ipairs(fh.list("/proc")) do
		if name:match("^%d+$") then
			local p = lab.process(tonumber(name))
			if p then
				parent[p.pid] = p
			end
		end
	end
	while #more > 0 do
		local pid = table.remove(more)
		if parent[pid] then
			found[#found + 1] = parent[pid]
		end
		for _, p in pairs(parent) do
			if p.parent == pid then
				more[#more + 1] = p.pid
			end
		end
	end
	return found
end

-- --- waiting -------------------------------------------------------------------------------------------

local VM = {}
VM.__index = VM

local function collect_events(vm)
	while vm.control do
		local event, _, code = vm.control:event(0)
		if not event then
			if code == 104 then -- ECONNRESET: the worker has gone
				vm.gone = true
				vm.control_fd:close()
				vm.control_fd = nil
				vm.control:close()
				vm.control = nil
			end
			return
		end
		event.at = fh.now()
		vm.events[#vm.events + 1] = event
		if event.method == lab.names.state_event then
			vm.state = event.params.State
			vm.reason = event.params.Reason
		end
	end
end

local CONSOLE_MOST = 1 << 20 -- bytes of a console that are kept

local function collect_console(vm)
	local text = vm.console:read(65536)
	if text == "" then
		vm.console:close()
		vm.console = nil
	elseif text then
		vm.console_text = vm.console_text .. text:gsub("\r", "")
		if #vm.console_text > CONSOLE_MOST then
			local cut = #vm.console_text - CONSOLE_MOST // 2
			vm.console_text = vm.console_text:sub(cut + 1)
			vm.position = math.max(1, vm.position - cut)
		end
	end
end

-- Collects what all machines say, for at most ms; returns as soon as there was something.
function lab.pump(ms)
	local wait, whose = {}, {}
	for _, vm in ipairs(vms) do
		if vm.console then
			wait[#wait + 1] = vm.console
			whose[vm.console] = { collect_console, vm }
		end
		if vm.control_fd then
			collect_events(vm)
		end
		if vm.control_fd then
			wait[#wait + 1] = vm.control_fd
			whose[vm.control_fd] = { collect_events, vm }
		end
	end
	for fd in pairs(assert(fh.poll(wait, ms))) do
		whose[fd][1](whose[fd][2])
	end
end

-- Waits until fn() returns something true, and returns that; fails with `what` after `seconds`.
function lab.wait(seconds, what, fn)
	local limit = fh.now() + seconds * lab.slow
	while true do
		local got = table.pack(fn())
		if got[1] then
			return table.unpack(got, 1, got.n)
		end
		local left = limit - fh.now()
		if left <= 0 then
			lab.fail("%s within %g s", what, seconds * lab.slow)
		end
		lab.pump(math.min(200, math.ceil(left * 1000)))
	end
end

-- Lets time pass, still listening.
function lab.sleep(seconds)
	local limit = fh.now() + seconds
	while fh.now() < limit do
		lab.pump(math.ceil((limit - fh.now()) * 1000))
	end
end

-- --- machines ------------------------------------------------------------------------------------------

local function merge(into, from)
	for k, v in pairs(from or {}) do
		if type(v) == "table" and type(into[k]) == "table" then
			merge(into[k], v)
		else
			into[k] = v
		end
	end
	return into
end

-- QEMU's emulated SVM does not tell KVM of XSETBV, so what CPUID says of XSAVE's size is wrong in a guest and Linux
-- warns. With this word a Linux guest leaves XSAVE alone.
local NOXSAVE = "noxsave"

-- A machine's document from the short form that scenarios use.
function lab.document(c)
	local n = c.number or count
	local kernel = "/guests/" .. (c.kernel or "cloud-6.12") .. "/"
	local document = {
		ConfigurationVersion = 1,
		Id = string.format("4c414221-0000-4000-8000-%012d", n),
		Name = c.name or "lab" .. n,
		Processor = { Count = c.processors or 1 },
		Memory = { SizeInMB = c.memory or 256 },
		ComPorts = { Com1 = c.console ~= false },
		LinuxKernelDirect = {
			Kernel = assert(fh.open(c.image or kernel .. "vmlinuz")),
			CommandLine = string.format("console=ttyS0 panic=-1 %s %s fh.do=%s %s", c.quiet == false and "" or "quiet",
				lab.emulated and NOXSAVE or "", c.run or "idle", c.append or ""),
		},
	}
	if c.disks then
		document.Devices = { ScsiControllers = c.controllers or 1 }
	end
	if c.initrd ~= false then
		document.LinuxKernelDirect.Initrd = assert(fh.open(c.initrd or kernel .. "initrd"))
	end
	return merge(document, c.document)
end

-- A worker that has no machine yet.
function lab.worker(c)
	c = c or {}
	count = count + 1
	local vm = setmetatable({
		number = count, title = "machine " .. count, console_text = "", position = 1, events = {},
		socket = "/run/lab/" .. count .. ".sock", log = "/run/lab/" .. count .. ".log",
		cgroup = "/sys/fs/cgroup/lab" .. count, uid = 60000 + count,
	}, VM)
	lab.run("mkdir -p /run/lab " .. vm.cgroup)
	vms[#vms + 1] = vm
	local argv = {
		c.program or "fh-worker", "--socket", vm.socket, "--uid", tostring(vm.uid), "--gid", tostring(vm.uid),
		"--cgroup", vm.cgroup, "--foreground", table.unpack(c.arguments or {}),
	}
	if c.environment then -- "NAME=value"
		argv = table.move(argv, 1, #argv, 3, { "env", c.environment })
	end
	local log <close> = assert(fh.open(vm.log, "w"))
	vm.pid = assert(fh.spawn(argv, { stdout = log, stderr = log }))
	vm:connect()
	return vm
end

function VM:connect()
	local limit = fh.now() + 10 * lab.slow
	local why
	repeat
		self.control, why = fh.control(self.socket)
		if not self.control then
			local how, status = fh.wait(self.pid, 0)
			if how then
				self.pid = nil
				lab.fail("fh-worker ended at once: %s %d", how, status)
			end
			fh.sleep(0.01)
		end
	until self.control or fh.now() > limit
	lab.check(self.control, "no connection to the worker: %s", why)
	self.control_fd = assert(self.control:fd())
end

-- The controller goes away; the worker and its guest stay.
function VM:disconnect()
	self.control_fd:close()
	self.control:close()
	self.control, self.control_fd = nil, nil
end

function VM:try(name, params, seconds)
	lab.check(self.control, "%s: the worker has gone", name)
	local result, why, code = self.control:call(lab.names.methods[name] or name, params or {},
		math.ceil((seconds or 30) * lab.slow * 1000))
	collect_events(self)
	if code == 110 then -- ETIMEDOUT
		show_threads(self)
	end
	return result, why, code
end

function VM:call(name, params, seconds)
	local result, why, code = self:try(name, params, seconds)
	lab.check(result ~= nil, "%s: %s (%s)", name, why, code)
	return result
end

-- Asks for something that must be refused, with this errno and a sentence that has `words` in it.
function VM:refused(name, params, errno, words)
	local result, why, code = self:try(name, params)
	lab.check(result == nil, "%s was not refused", name)
	if errno then
		lab.check(code == errno, "%s: refused with errno %s, not %s: %s", name, code, errno, why)
	end
	if words then
		lab.check(why:find(words, 1, true), '%s: the sentence has no "%s": %s', name, words, why)
	end
	return why
end

local function close_all(params)
	for _, v in pairs(params) do
		if type(v) == "userdata" then
			pcall(v.close, v)
		elseif type(v) == "table" then
			close_all(v)
		end
	end
end

-- A disk from the short form that scenarios use. A file is opened anew, for this worker.
local function unit(d)
	local params = merge({
		Controller = d.controller or 0, Lun = d.lun, Type = d.kind or "VirtualDisk", Format = "Raw", SerialNumber = d.serial,
		ReadOnly = d.read_only,
	}, d.more)
	if d.file then
		params.File = assert(fh.open(d.file, d.how or (d.read_only or d.kind == "Dvd") and "r" or "rw"))
	end
	for i, path in ipairs(d.parents or {}) do
		params.Parents = params.Parents or {}
		params.Parents[i] = { File = assert(fh.open(path, "r")) }
	end
	return params
end

function VM:add_disk(d)
	local params = unit(d)
	self:call("disk_add", params)
	close_all(params)
end

function VM:add_disks(c)
	for _, d in ipairs(c and c.disks or {}) do
		self:add_disk(d)
	end
end

-- An adapter: number, mac, queues, tap (its name in the lab's machine: made if it is not there), more.
function VM:add_nic(d)
	local params = merge({ Number = d.number or 0, MacAddress = d.mac, Queues = d.queues }, d.more)
	if d.tap then
		params.Taps = {}
		for i, fd in ipairs(assert(fh.tap(d.tap, d.taps or d.queues or 1))) do
			params.Taps[i] = { Tap = fd }
		end
	else
		params.Connected = false
	end
	self:call("nic_add", params)
	close_all(params)
end

function VM:add_nics(c)
	for _, d in ipairs(c and c.nics or {}) do
		self:add_nic(d)
	end
end

-- Waits for what a disk has to tell: "Full", "Ejected", "Slow", "Failed" or "Removed".
function VM:wait_disk(what, seconds)
	return self:wait_event(lab.names.disk_event, seconds, function(said)
		return said.What == what
	end)
end

-- Waits for what an integration component has to tell: "Heartbeat", "GuestFacts", "Copying", or "Ended" of an operation.
function VM:wait_integration(what, operation, seconds)
	return self:wait_event(lab.names.integration_event, seconds, function(said)
		return said.What == what and (not operation or said.Operation == operation)
	end)
end

function VM:create(c)
	self:add_disks(c)
	self:add_nics(c)
	return self:make("create", { Machine = lab.document(c or {}) }, c)
end

-- From saved state: a stream to read it from, and the short form that the machine was started with.
function VM:restore(c, stream)
	self:add_disks(c)
	self:add_nics(c)
	return self:make("restore", { Machine = lab.document(c), Stream = stream }, c)
end

function VM:make(method, params, c)
	local result, why, code = self:try(method, params, 60)
	close_all(params)
	lab.check(result ~= nil, "%s: %s (%s)", method, why, code)
	if not c or c.console ~= false then
		self:attach()
	end
	return self
end

function VM:attach(port)
	local ours, theirs = fh.pair()
	self:call("console", { Port = port or 0, Stream = theirs })
	theirs:close()
	if self.console then
		self.console:close()
	end
	self.console = ours
end

function lab.start(c)
	local vm = lab.worker(c)
	c.number = c.number or vm.number -- the machine's identity, also where it is restored
	vm.processors = c.processors or 1
	vm:create(c)
	vm:call("start")
	vm:wait("running", 10) -- events before it are of no interest
	return vm
end

function VM:say(text)
	assert(self.console:write(text))
end

-- Finds the pattern in the lines that the guest printed since the last find; returns captures (or the whole
-- match). Only whole lines count, unless `partial` is true (a prompt).
function VM:expect(pattern, seconds, partial)
	return lab.wait(seconds or 60, string.format("%s did not say '%s'", self.title, pattern), function()
		local text = self.console_text
		if not partial then
			text = text:sub(1, (text:find("\n[^\n]*$", self.position)) or 0)
		end
		local found = table.pack(text:find(pattern, self.position))
		if found[1] then
			self.position = found[2] + 1
			if found.n > 2 then
				return table.unpack(found, 3, found.n)
			end
			return self.console_text:sub(found[1], found[2])
		end
		lab.check(not self.gone, "%s: the worker ended while waiting for '%s'", self.title, pattern)
	end)
end

-- Has a guest that obeys do a line of shell: what it printed, and the exit status.
function VM:sh(command, seconds)
	self:say(command .. "\n")
	local text, status = self:expect("(.-)FH%-DID (%d+)", seconds)
	return text, tonumber(status)
end

-- The same, and that it succeeds.
function VM:must(command, seconds)
	local text, status = self:sh(command, seconds)
	lab.check(status == 0, "%s: status %d: %s", command, status, text)
	return text
end

-- Whether the pattern was printed at all.
function VM:printed(pattern)
	lab.pump(0)
	return self.console_text:match(pattern)
end

-- Waits for a state, told by an event after the last one waited for.
function VM:wait(state, seconds)
	state = lab.names.states[state]
	self.seen = self.seen or 0
	return lab.wait(seconds or 60, string.format("%s did not become %s (last: %s)", self.title, state, self.state),
		function()
			while self.seen < #self.events do
				self.seen = self.seen + 1
				local e = self.events[self.seen]
				if e.method == lab.names.state_event and e.params.State == state then
					return e.params
				end
			end
			lab.check(not self.gone, "%s: the worker ended", self.title)
		end)
end

-- Waits for an event, of which `wanted` (if given) is true, and takes it out.
function VM:wait_event(method, seconds, wanted)
	return lab.wait(seconds or 60, string.format("%s: no event '%s'", self.title, method), function()
		for i, e in ipairs(self.events) do
			if e.method == method and (not wanted or wanted(e.params)) then
				table.remove(self.events, i)
				if self.seen and self.seen >= i then
					self.seen = self.seen - 1
				end
				return e.params
			end
		end
	end)
end

-- The worker's processes: the one that waits for it, and it itself.
function VM:processes()
	return lab.processes(self.pid)
end

-- The process that holds the guest: the one with most threads.
function VM:worker()
	local best
	for _, p in ipairs(self:processes()) do
		if not best or p.threads > best.threads then
			best = p
		end
	end
	return best
end

-- Waits until the worker ends by itself; how it ended.
function VM:ended(seconds)
	local how, status
	lab.wait(seconds or 30, self.title .. ": the worker did not end", function()
		how, status = fh.wait(self.pid, 0)
		return how
	end)
	self.pid = nil
	return how, status
end

function VM:stop()
	if self.control then
		pcall(self.try, self, "quit", {}, 5)
	end
	if self.pid and not fh.wait(self.pid, 3000) then
		for _, p in ipairs(self:processes()) do
			fh.kill(p.pid, 9)
		end
		fh.wait(self.pid, 3000)
	end
	self.pid = nil
	for _, name in ipairs({ "console", "control_fd", "control" }) do
		if self[name] then
			self[name]:close()
			self[name] = nil
		end
	end
	os.remove(self.socket)
	lab.run("rmdir " .. self.cgroup)
end

-- --- what guests report ----------------------------------------------------------------------------------

-- Reads the guest's `report`: clock, clocks, cpus, mem, interrupts { HVS = sum over processors }, hyperv text.
function VM:report(seconds)
	local text = self:expect("(FH%-CLOCK .-)FH%-END report", seconds or 60)
	local r = { interrupts = {}, hyperv = {}, text = text }
	r.clock, r.clocks = text:match("FH%-CLOCK (%S+)"), text:match("FH%-CLOCKS ([^\n]+)")
	r.cpus, r.memory = tonumber(text:match("FH%-CPUS (%d+)")), tonumber(text:match("FH%-MEM (%d+)"))
	for name, rest in text:gmatch("FH%-INT (%w+):([^\n]*)") do
		local sum = 0
		for n in rest:gmatch("%f[%w](%d+)%f[%W]") do
			sum = sum + tonumber(n)
		end
		r.interrupts[name] = sum
	end
	for line in text:gmatch("FH%-HV ([^\n]*)") do
		r.hyperv[#r.hyperv + 1] = line
	end
	r.hyperv = table.concat(r.hyperv, "\n")
	return r
end

-- The rows of allowed-warnings.txt that hold for this kernel.
local function allowed_warnings(kernel)
	local rows = {}
	for line in lab.read("/lab/allowed-warnings.txt"):gmatch("[^\n]+") do
		local which, pattern = line:match("^([^#\t]%S*)\t+([^\t]+)\t+")
		if which and (which == "any" or kernel:find(which, 1, true)) then
			rows[#rows + 1] = pattern
		end
	end
	return rows
end

-- Every line that the guest's kernel logged at warning level or above must be an allowed one.
function VM:no_warnings(kernel)
	local text = self:expect("(.-)FH%-END warnings", 60)
	local allowed, bad = allowed_warnings(kernel), {}
	for line in text:gmatch("FH%-WARN %d ([^\n]*)") do
		local fine = false
		for _, pattern in ipairs(allowed) do
			fine = fine or line:find(pattern)
		end
		if not fine then
			bad[#bad + 1] = line
		end
	end
	lab.check(#bad == 0, "the guest's kernel warns: %s", table.concat(bad, " / "))
end

return lab
