-- contain.lua - a worker owns nothing, takes no more than its share, and leaves nothing behind.

local function alive(pid)
	local p = lab.process(pid)
	return p and p.state ~= "Z"
end

lab.test("the worker runs as its own user, with no privileges, in empty namespaces", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	local p = vm:worker()
	lab.equal(p.uid, vm.uid, "user")
	lab.equal(p.gid, vm.uid, "group")
	lab.equal(p.capabilities, "0000000000000000", "effective capabilities")
	lab.equal(p.permitted, "0000000000000000", "permitted capabilities")
	lab.equal(p.no_new_privs, 1, "no_new_privs")
	lab.check(p.status:find("Groups:%s*\n") or p.status:find("Groups:%s*" .. vm.uid .. "%s*\n"), "it has other groups")
	for _, thread in ipairs(fh.list("/proc/" .. p.pid .. "/task")) do
		local status = lab.read("/proc/" .. p.pid .. "/task/" .. thread .. "/status")
		lab.check(status:find("\nSeccomp:%s*2"), "thread %s has no filter", thread)
		lab.check(status:find("\nCapEff:%s*0000000000000000"), "thread %s has capabilities", thread)
	end
	for _, ns in ipairs({ "mnt", "net", "ipc", "pid" }) do
		local mine, its = fh.readlink("/proc/self/ns/" .. ns), fh.readlink("/proc/" .. p.pid .. "/ns/" .. ns)
		lab.check(its and mine ~= its, "it shares the %s namespace", ns)
	end
	lab.equal(#(fh.list("/proc/" .. p.pid .. "/root") or {}), 0, "entries in its root folder")
	lab.check(lab.read(vm.cgroup .. "/cgroup.procs"):find("%d"), "it is not in its control group")
end)

lab.test("it keeps no file of the host open but those it was given", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	local p = vm:worker()
	for _, fd in ipairs(fh.list("/proc/" .. p.pid .. "/fd")) do
		local to = fh.readlink("/proc/" .. p.pid .. "/fd/" .. fd) or ""
		local fine = to:find("^socket:") or to:find("^anon_inode:") or to:find("^/memfd:") or to:find("^pipe:") or
			to == "/dev/kvm" or to == "/dev/null" or to == vm.log or to:find("^/guests/cloud%-6.12/")
		lab.check(fine, "descriptor %s is %s", fd, to)
	end
end)

lab.test("a killed worker takes its guest along and nobody else", function()
	local one, two = lab.start({ run = "tick" }), lab.start({ run = "tick" })
	one:expect("FH%-TICK")
	two:expect("FH%-TICK")
	local all = one:processes()
	fh.kill(one:worker().pid, 9)
	one:ended(10)
	lab.wait(10, "its processes did not go", function()
		for _, p in ipairs(all) do
			if alive(p.pid) then
				return false
			end
		end
		return true
	end)
	lab.equal(lab.read(one.cgroup .. "/cgroup.procs"), "", "what is left in its control group")
	two:expect("FH%-TICK")
	two:expect("FH%-TICK")
end)

lab.test("quit ends it with status 0, and its log is silent", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	vm:try("quit")
	local how, status = vm:ended(10)
	lab.equal(how, "exit", "how it ended")
	lab.equal(status, 0, "status")
	lab.equal(lab.read(vm.log), "", "log")
end)

lab.test("a guest that floods its console costs no memory and no log", function()
	local vm = lab.start({ run = "yes" })
	vm:expect("FH%-FLOOD", 40)
	vm.console:close() -- nobody reads any more
	vm.console = nil
	lab.wait(60, "nothing was counted as lost", function() -- its 64 KiB must be full first
		return vm:call("statistics").Com1Lost > 0
	end)
	local before = vm:worker().rss
	lab.sleep(6)
	local after = vm:worker().rss
	lab.check(after - before < 8 * 1024, "resident memory grew by %d KiB", after - before)
	lab.check(#lab.read(vm.log) < 4096, "its log has %d bytes", #lab.read(vm.log))
	lab.equal(vm:call("status").State, "Running", "state")
end)

lab.test("garbage on the control socket is answered, and the connection stays", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	for _, text in ipairs({ "{", "[]", "nonsense", string.rep("[", 1000), '{"jsonrpc":"2.0"}', "\0\0\0",
		'{"jsonrpc":"2.0","id":9001,"method":"pause","params":[]}', '{"jsonrpc":"2.0","id":9002,"method":7}',
		'{"jsonrpc":"2.0","id":9003,"method":"pause","params":{"x":1}}' }) do
		local answer = vm.control:raw(text)
		lab.check(answer and answer:find('"error"'), "%s: the answer is %s", text:sub(1, 40), answer)
		lab.equal(vm:call("status").State, "Running", "state after " .. text:sub(1, 40))
	end
	local before = #fh.list("/proc/" .. vm:worker().pid .. "/fd")
	local null, many = assert(fh.open("/dev/null", "rw")), {}
	for i = 1, 40 do
		many[i] = null
	end
	vm.control:raw('{"jsonrpc":"2.0","id":9004,"method":"status","params":{}}', many)
	for _ = 1, 20 do
		vm.control:raw("garbage", many)
	end
	vm:call("status")
	lab.equal(#fh.list("/proc/" .. vm:worker().pid .. "/fd"), before, "open descriptors")
end)

lab.test("an idle guest costs next to nothing", function()
	local vm = lab.start({ run = "idle" })
	vm:expect("FH%-IDLE")
	lab.sleep(3)
	local pid = vm:worker().pid
	local function ticks()
		local stat = lab.read("/proc/" .. pid .. "/stat"):match("%) (.*)")
		local n, sum = 0, 0
		for word in stat:gmatch("%S+") do
			n = n + 1
			if n == 12 or n == 13 then
				sum = sum + tonumber(word)
			end
		end
		return sum
	end
	local function exits()
		local sum = 0
		for _, p in ipairs(vm:call("statistics").Processors) do
			sum = sum + p.Io + p.Mmio + p.Msr + p.Hypercall + p.Other
		end
		return sum
	end
	local t, e = ticks(), exits()
	lab.sleep(5)
	t, e = ticks() - t, exits() - e
	lab.log("in 5 s: %d ms of processor, %d exits to the worker, resident %d MiB, %d threads", t * 10, e,
		vm:worker().rss >> 10, vm:worker().threads)
	lab.check(e <= 5, "%d exits to the worker in 5 s", e)
	lab.check(t < 150, "%d ms of processor time in 5 s", t * 10)
end)
