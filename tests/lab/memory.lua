-- memory.lua - memory above the hole below 4 GiB, and memory that is added.

lab.test("memory above 4 GiB holds what is written there", function()
	local vm = lab.start({ memory = 4096, processors = 2, run = "report,memsum,poweroff", append = "fh.mib=64 fh.above=4096" })
	local r = vm:report(90)
	lab.check(r.memory > 3800 * 1024, "the guest sees %d KiB", r.memory)
	lab.equal(vm:expect("FH%-SUM %x+ (%a+)", 60), "good", "first sum")
	lab.equal(vm:expect("FH%-SUM %x+ (%a+)", 60), "good", "second sum")
	vm:wait("off")
end)

lab.test("pages that the guest never touched are not taken from the host", function()
	local vm = lab.start({ memory = 4096, run = "idle" })
	vm:expect("FH%-IDLE", 60)
	local rss = vm:worker().rss
	lab.check(rss < 700 * 1024, "a worker whose guest idles in 4 GiB has %d MiB", rss >> 10)
	lab.log("resident: %d MiB", rss >> 10)
end)

lab.test("memory is added up to the maximum and not above it", function()
	local vm = lab.start({ memory = 256, run = "tick", document = { Memory = { MaximumSizeInMB = 1024 } } })
	vm:expect("FH%-TICK")
	local r = vm:call("memory_add", { SizeInMB = 256 })
	lab.equal(r.SizeInMB, 512, "memory in all")
	vm:call("memory_add", { SizeInMB = 512 })
	vm:refused("memory_add", { SizeInMB = 2 })
	vm:expect("FH%-TICK")
	lab.equal(vm:call("statistics").MemoryInMB, 1024, "memory in the statistics")
end)
