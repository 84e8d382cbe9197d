-- save.lua - a machine is saved and goes on in another worker, as if nothing had been.

local function saved(vm)
	local file = assert(fh.memfd("state"))
	vm:call("save", { Stream = file }, 60)
	vm:wait("saved")
	vm:stop()
	file:seek(0)
	return file
end

-- Saves vm, restores it in a new worker and lets it go on.
local function moved(vm, config)
	local file = saved(vm)
	local size = file:size()
	local again = lab.worker():restore(config, file)
	lab.equal(again:call("status").State, "Paused", "state after restore")
	again:call("resume")
	return again, size
end

local function hold(config)
	config.run = "memhold"
	local vm = lab.start(config)
	local sum = vm:expect("FH%-SUM (%x+) good", 90)
	vm:expect("FH%-HOLD")
	return vm, sum
end

for _, c in ipairs({
	{ kernel = "cloud-6.12", processors = 1 },
	{ kernel = "cloud-6.12", processors = 4 },
	{ kernel = "cloud-6.1", processors = 2 },
}) do
	lab.test(string.format("%s with %d processor(s) keeps its memory and goes on", c.kernel, c.processors), function()
		local config = { kernel = c.kernel, processors = c.processors, append = "fh.mib=48 fh.above=0" }
		local vm, sum = hold(config)
		local again, size = moved(vm, config)
		lab.log("the saved state has %d MiB", size >> 20)
		again:say("\n")
		lab.equal(again:expect("FH%-SUM (%x+) good", 30), sum, "checksum")
		again:say("end\n")
		again:call("power_off")
	end)
end

lab.test("the guest's clock stands still while it is saved, and never goes back", function()
	local config = { run = "tick", processors = 2 }
	local vm = lab.start(config)
	vm:expect("FH%-TICK")
	local n, up = vm:expect("FH%-TICK%-(%d+) (%S+)")
	local file = saved(vm)
	lab.sleep(5)
	local again = lab.worker():restore(config, file)
	again:call("resume")
	local from = fh.now()
	local n2, up2 = again:expect("FH%-TICK%-(%d+) (%S+)", 30)
	local gap = tonumber(up2) - tonumber(up)
	lab.check(gap >= 0 and gap < 4, "uptime went from %s to %s", up, up2)
	lab.check(tonumber(n2) > tonumber(n), "tick %s came after %s", n2, n)
	local n3 = again:expect("FH%-TICK%-(%d+)", 30)
	lab.check(tonumber(n3) == tonumber(n2) + 1, "tick %s came after %s", n3, n2)
end)

lab.test("a guest under load on 4 processors survives it three times", function()
	local config = { run = "busy,date", processors = 4, append = "fh.seconds=14 fh.threads=4" }
	local vm = lab.start(config)
	vm:expect("FH%-BUSY")
	for _ = 1, 3 do
		lab.sleep(1)
		vm = moved(vm, config)
	end
	lab.equal(vm:expect("FH%-BUSY%-END %d+ rounds (%d+) errors", 90), "0", "memory errors")
	vm:expect("FH%-DATE")
end)

lab.test("a cut or damaged state is refused, and a full disk leaves the guest running", function()
	local config = { run = "tick" }
	local vm = lab.start(config)
	vm:expect("FH%-TICK")
	local full = assert(fh.open("/dev/full", "rw"))
	vm:refused("save", { Stream = full })
	vm:expect("FH%-TICK", 10)
	local file = saved(vm)
	local size = file:size()
	for _, part in ipairs({ 0, 1, 100, 5000, size // 2, size - 1 }) do
		local cut = assert(fh.memfd("cut"))
		file:seek(0)
		for _ = 1, part // 65536 do
			cut:write(file:read(65536))
		end
		if part % 65536 > 0 then
			cut:write(file:read(part % 65536))
		end
		cut:seek(0)
		local worker = lab.worker()
		local document = lab.document(config)
		worker:refused("restore", { Machine = document, Stream = cut })
	end
end)
