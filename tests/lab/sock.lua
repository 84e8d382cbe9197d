-- sock.lua - streams between guest and host (hv_sock, in Linux AF_VSOCK): a stock guest's own driver, asked for from
-- either side.

local MIB = 1 << 20

local function start(kernel)
	local vm = lab.start({ kernel = kernel, memory = 512, processors = 2, run = "obey", document = { Devices = { Sockets = true } } })
	vm:expect("FH%-OBEY", 60)
	vm:must("modprobe hv_sock", 30)
	return vm
end

local block = {}
for i = 0, 4095 do
	block[#block + 1] = string.pack("<I4I4I4I4", i, i * 2654435761 & 0xffffffff, i ~ 0x5a5a5a5a, i * i & 0xffffffff)
end
block = table.concat(block) -- 64 KiB that are nowhere alike
local twice = block .. block

-- What can be done at once with one end: true if that was anything.
local function step(s, bytes)
	local before = s.sent + s.got
	if s.sent < bytes then
		local at = s.sent % #block
		s.sent = s.sent + lab.check(s.fd:put(block:sub(at + 1, math.min(#block, at + bytes - s.sent))), "the stream has ended")
	end
	local text = s.fd:read(65536)
	if text and text ~= "" then
		local at = s.got % #block
		lab.check(text == twice:sub(at + 1, at + #text), "other bytes at %d", s.got)
		s.got = s.got + #text
	end
	return s.sent + s.got > before
end

-- Writes so many bytes of blocks and reads as many, which must be the same: on several ends at a time.
local function echoed(ends, bytes, seconds)
	local state, left, limit = {}, #ends, fh.now() + seconds * lab.slow
	for i, fd in ipairs(ends) do
		state[i] = { fd = fd, sent = 0, got = 0 }
	end
	while left > 0 do
		local moved = false
		left = 0
		for _, s in ipairs(state) do
			if s.got < bytes then
				left = left + 1
				moved = step(s, bytes) or moved
			end
		end
		lab.check(fh.now() < limit, "not all bytes came back: %d of %d on the first", state[1].got, bytes)
		if not moved then
			fh.poll(ends, 20)
		end
	end
end

local function said(vm, what, seconds)
	return vm:wait_event(lab.names.socket_event, seconds, function(p)
		return p.What == what
	end)
end

-- Offers the guest a stream: our end.
local function connect(vm, port)
	local ours, theirs = fh.pair()
	local id = vm:call("socket_connect", { Port = port, File = theirs }).Id
	theirs:close()
	return ours, id
end

local function both_ways(kernel)
	lab.test(kernel .. ": the host calls a service of the guest: 100 MB there and back", function()
		local vm = start(kernel)
		vm:must("guest-tool sock-serve 1000 1 & usleep 500000", 30)
		local ours = connect(vm, 1000)
		echoed({ ours }, 100 * MIB, 200)
		local list = vm:call("socket_list").Streams
		lab.equal(#list, 1, "streams")
		lab.equal(list[1].BytesSent, 100 * MIB, "bytes to the guest")
		ours:close()
		vm:expect("FH%-ECHO " .. 100 * MIB, 20)
		said(vm, "Closed", 20)
		lab.equal(#vm:call("socket_list").Streams, 0, "streams at the end")
	end)

	lab.test(kernel .. ": the guest calls a service of the host", function()
		local vm = start(kernel)
		local from = fh.now()
		local _, status = vm:sh("guest-tool sock-call 2000 5 1", 20)
		lab.check(status ~= 0, "nobody listens, and it is connected")
		vm:call("socket_listen", { Port = 2000 })
		vm:must("guest-tool sock-call 2000 5000000 1 >/tmp/out 2>&1 & true", 10)
		local asked = said(vm, "Requested", 10)
		local ours, theirs = fh.pair()
		vm:call("socket_accept", { Id = asked.Id, File = theirs })
		theirs:close()
		local got, limit = 0, fh.now() + 60 * lab.slow
		local text
		repeat
			text = ours:read(65536)
			got = got + #(text or "")
			lab.check(not text or ours:write(text), "the guest does not read")
			if not text then
				fh.poll({ ours }, 100)
			end
			lab.check(fh.now() < limit, "only %d bytes came from the guest", got)
		until text == ""
		lab.equal(got, 5000000, "bytes from the guest")
		ours:close()
		vm:must("wait; cat /tmp/out", 20)
		said(vm, "Closed", 20)
		lab.check(vm:printed("FH%-CALLED 1 of 1 good"), "what came back is not what went out")
		lab.log("%.1f s", fh.now() - from)
	end)
end

both_ways("cloud-6.12")
both_ways("cloud-6.1")

lab.test("100 streams at once", function()
	local vm = start("cloud-6.12")
	vm:must("guest-tool sock-serve 1000 100 & usleep 500000", 30)
	local ends = {}
	for i = 1, 100 do
		ends[i] = connect(vm, 1000)
	end
	echoed(ends, 200000, 120)
	for _, fd in ipairs(ends) do
		fd:close()
	end
	vm:expect("FH%-SERVED", 30)
	lab.wait(30, "streams are left", function()
		return #vm:call("socket_list").Streams == 0
	end)
	vm:must("guest-tool clocks 1", 10)
end)

lab.test("a service that nobody serves, a socket that breaks, a guest that goes away", function()
	local vm = start("cloud-6.12")
	local ours = connect(vm, 3000)
	said(vm, "NotTaken", 20)
	lab.equal(ours:read(1), "", "the end of a stream that was not taken")
	ours:close()
	vm:must("guest-tool sock-serve 1000 1 & usleep 500000", 30)
	ours = connect(vm, 1000)
	echoed({ ours }, 1000, 20)
	ours:close()
	vm:expect("FH%-SERVED", 20)
	said(vm, "Closed", 20)
	vm:must("guest-tool sock-serve 1000 1 & usleep 500000", 30)
	ours = connect(vm, 1000)
	echoed({ ours }, 1000, 20)
	vm:call("reset")
	vm:expect("FH%-OBEY", 60)
	lab.equal(#vm:call("socket_list").Streams, 0, "streams after a reset")
	lab.equal(ours:read(1), "", "the end of a stream whose guest is gone")
	ours:close()
end)

lab.test("a guest that is saved in the middle finds its streams ended, and can make new ones", function()
	local c = { kernel = "cloud-6.12", memory = 256, run = "obey", document = { Devices = { Sockets = true } } }
	local vm = lab.start(c)
	vm:expect("FH%-OBEY", 60)
	vm:must("modprobe hv_sock; guest-tool sock-serve 1000 2 & usleep 500000", 30)
	local ours = connect(vm, 1000)
	echoed({ ours }, 300000, 30)
	ours:write(block)
	local file = assert(fh.memfd("saved"))
	vm:call("save", { Stream = file }, 60)
	file:seek(0)
	local other = lab.worker({})
	other:restore(c, file)
	other:call("resume")
	other:expect("FH%-ECHO", 30)
	vm:stop()
	local new = connect(other, 1000)
	echoed({ new }, 300000, 30)
	new:close()
	other:expect("FH%-SERVED", 20)
	ours:close()
	other:stop()
end)
