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

lab.test("30 starts of one machine leave no thread, descriptor or memory behind", function()
	local vm = lab.start({ run = "poweroff" })
	vm:wait("off", 60)
	local first = vm:worker()
	for i = 1, 30 do
		vm:call("start")
		vm:wait("off", 60)
	end
	local last = vm:worker()
	lab.equal(last.fds, first.fds, "descriptors")
	lab.equal(last.threads, first.threads, "threads")
	lab.check(last.rss - first.rss < 4096, "resident memory grew by %d KiB", last.rss - first.rss)
end)
