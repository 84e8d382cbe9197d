-- saverestore.lua - a guest in the middle of I/O is saved and goes on in another worker; every block that it reads
-- there, and the files below its disks in the end, are what was acknowledged to it.

local storage = dofile("/lab/storage.lua")

local moved = storage.moved

local function data_disk(c, mib, more)
	local d = { lun = 1, file = storage.sparse("data", mib), serial = "data", more = more }
	c.disks = { d }
	return d.file
end

local function times(c, n, depth, threads, mib, more)
	local data = data_disk(c, mib or 64, more)
	local vm = storage.guest(c)
	storage.begin_io(vm, "data", depth, threads, "100000s")
	local done = storage.progress(vm)
	for _ = 1, n do
		vm = moved(vm, c)
		done = storage.progress(vm, done, 60)
	end
	lab.log("%d operations", done)
	vm:must("kill $io")
	local failed, sum = storage.end_io(vm)
	lab.equal(failed, 0, "failed operations")
	storage.same_below(data, sum)
	storage.off(vm, c)
end

local function full(kernel)
	local c = { kernel = kernel, processors = 2 }
	local data = storage.on_small("small", 64, 24)
	c.disks = { { lun = 1, file = data, serial = "data" } }
	local vm = storage.guest(c)
	storage.begin_io(vm, "data", 32, 2, "2500")
	vm:wait("paused", 120)
	vm:wait_disk("Full", 10)
	vm = moved(vm, c, false)
	vm:call("resume") -- no room yet
	vm:wait_disk("Full", 30)
	vm:wait("paused", 30)
	vm = moved(vm, c, false)
	storage.make_room("small", 100)
	vm:call("resume")
	local failed, sum = storage.end_io(vm, 300)
	lab.equal(failed, 0, "failed operations")
	storage.same_below(data, sum)
	storage.off(vm, c)
end

local tests = {
	{ nil, "cloud-6.12 with 4 processors in the middle of I/O, 20 times", function()
		times({ kernel = "cloud-6.12", processors = 4, memory = 512 }, 20, 32, 4)
	end },
	{ nil, "cloud-6.1 whose disk is throttled, 5 times", function()
		times({ kernel = "cloud-6.1", processors = 2 }, 5, 32, 2, 16, { MaximumIops = 400 })
	end },
	{ nil, "cloud-6.12 whose requests wait for room below", function()
		full("cloud-6.12")
	end },
	{ "more", "full-6.12 with 1 processor, 20 times", function()
		times({ kernel = "full-6.12" }, 20, 32, 1)
	end },
	{ "more", "cloud-6.1 with 4 processors, 20 times", function()
		times({ kernel = "cloud-6.1", processors = 4, memory = 512 }, 20, 32, 4)
	end },
	{ "more", "full-6.1 with 2 processors, 20 times", function()
		times({ kernel = "full-6.1", processors = 2 }, 20, 32, 2)
	end },
}
for _, t in ipairs(tests) do
	if t[1] == lab.variant then
		lab.test(t[2], t[3])
	end
end
