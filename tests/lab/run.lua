-- run.lua - a guest with its console on this terminal (make run): standard input and output are the lab machine's
-- order line, which QEMU connects to the terminal. Ends when the guest is off.
lab = dofile("/lab/lab.lua")
lab.name = "run"

local function param(name, default)
	return lab.read("/proc/cmdline"):match("run%." .. name .. "=(%S+)") or default
end

local terminal_in, terminal_out = fh.stdio(0), fh.stdio(1)

local function say(text)
	terminal_out:write(text:gsub("\n", "\r\n"))
end

local kernel, processors, memory = param("kernel", "cloud-6.12"), param("processors", "1"), param("memory", "512")
say(string.format("fh-worker: %s, %s processor(s), %s MiB\n", kernel, processors, memory))

local ok, why = pcall(function()
	local vm = lab.start({
		name = "run", kernel = kernel, processors = math.tointeger(tonumber(processors)),
		memory = math.tointeger(tonumber(memory)), run = "shell", quiet = param("quiet", "1") == "1",
	})
	local console = vm.console
	vm.console = nil -- this loop reads it, not lab.pump
	while vm.state ~= lab.names.states.off and vm.state ~= lab.names.states.critical do
		local ready = assert(fh.poll({ console, terminal_in }, 200))
		if ready[terminal_in] then
			console:write(assert(terminal_in:read(4096)))
		end
		if ready[console] then
			terminal_out:write(console:read(65536) or "")
		end
		lab.pump(0)
		if vm.gone then
			say("\nThe worker ended:\n" .. (lab.read(vm.log) or ""))
			break
		end
	end
	say(string.format("\nThe guest is %s: %s\n", vm.state, vm.reason))
	vm:stop()
end)
if not ok then
	say("fh-worker: " .. (type(why) == "table" and why.why or tostring(why)) .. "\n")
	say((lab.read("/run/lab/1.log") or "") .. lab.run("dmesg | tail -n 20"))
end
