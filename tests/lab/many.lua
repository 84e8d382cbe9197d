-- many.lua - many processors in a machine, many machines on a host.

lab.test("64 processors come up and answer", function()
	local vm = lab.start({ processors = 64, memory = 1024, run = "report,poweroff", append = "nowatchdog rcupdate.rcu_cpu_stall_timeout=120" })
	local r = vm:report(600)
	lab.equal(r.cpus, 64, "processors")
	vm:wait("off", 120)
end)

lab.test("8 machines at once", function()
	local vms, from = {}, fh.now()
	for i = 1, 8 do
		vms[i] = lab.start({ memory = 128, run = "tick" })
	end
	for _, vm in ipairs(vms) do
		vm:expect("FH%-TICK", 200)
	end
	lab.log("8 guests up in %.1f s", fh.now() - from)
	local rss = 0
	for _, vm in ipairs(vms) do
		rss = rss + vm:worker().rss
	end
	lab.log("%d MiB resident in all", rss >> 10)
end)

-- What the host has in use, without what it only keeps because nobody has asked for it yet: caches, and the pages
-- that wait in its processors' own lists, which MemFree does not count.
local function in_use()
	local workers, waiting = 0, 0
	lab.run("sync; echo 3 >/proc/sys/vm/drop_caches")
	for pages in lab.read("/proc/zoneinfo"):gmatch("count:%s+(%d+)") do
		waiting = waiting + 4 * tonumber(pages)
	end
	for _, p in ipairs(lab.processes(1)) do
		workers = workers + (p.name == "fh-worker" and 1 or 0)
	end
	return workers, tonumber(lab.read("/proc/sys/fs/file-nr"):match("%d+")),
		tonumber(lab.read("/proc/meminfo"):match("MemFree:%s*(%d+)")) + waiting, lab.read("/proc/meminfo")
end

lab.test("8 machines one after another leave nothing behind on the host", function()
	local workers, files, free, memory
	for i = 0, 8 do
		local vm = lab.start({ processors = 2, run = "poweroff" })
		vm:wait("off", 60)
		vm:stop()
		if i == 0 then -- what the host keeps from the first on
			workers, files, free, memory = in_use()
		end
	end
	local workers2, files2, free2, memory2 = in_use()
	lab.log("%d open files and %d MiB free, then %d and %d", files, free >> 10, files2, free2 >> 10)
	lab.equal(workers, 0, "workers after the first")
	lab.equal(workers2, 0, "workers")
	lab.check(files2 - files < 64, "open files grew from %d to %d", files, files2)
	lab.check(free - free2 < 8192, "free memory fell from %d to %d KiB; before:\n%s\nafter:\n%s", free, free2, memory, memory2)
end)

lab.test("30 starts of one machine leave no thread, descriptor or memory behind", function()
	local vm = lab.start({ run = "poweroff" })
	vm:wait("off", 60)
	local first = vm:worker()
	for i = 1, 30 do
		vm:call("start")
		vm:wait("off", 60)
	end
	local last = vm:worker()
	lab.log("%d threads, %d descriptors; %d KiB resident, then %d", last.threads, last.fds, first.rss, last.rss)
	lab.equal(last.fds, first.fds, "descriptors")
	lab.equal(last.threads, first.threads, "threads")
	lab.check(last.rss - first.rss < 4096, "resident memory grew by %d KiB", last.rss - first.rss)
end)
