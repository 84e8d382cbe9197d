-- memory.lua - memory above the hole below 4 GiB, memory that is added, huge pages of the host, the least memory
-- that a machine can have. Its variants are dynamic memory: balloon.lua.
if lab.variant then
	return dofile("/lab/balloon.lua")
end

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

-- --- huge pages of the host -----------------------------------------------------------------------------

-- The host's huge pages: reserved in all, free, and promised to somebody who has not touched them yet.
local function huge_pages()
	local text = lab.read("/proc/meminfo")
	local function number(name)
		return tonumber(text:match("HugePages_" .. name .. ":%s*(%d+)"))
	end
	return { total = number("Total"), free = number("Free"), promised = number("Rsvd") }
end

-- Reserves so many, all of them free: also checks that none was left behind.
local function reserve(pages)
	lab.write("/proc/sys/vm/drop_caches", "3")
	lab.wait(10, pages .. " free huge pages were not to be had", function()
		lab.write("/proc/sys/vm/nr_hugepages", tostring(pages))
		local h = huge_pages()
		return h.total == pages and h.free == pages
	end)
end

-- Sums of the mapping of guest memory in the worker's smaps, in KiB.
local function mapping(vm)
	local text, inside, m = lab.read("/proc/" .. vm:worker().pid .. "/smaps"), false, { Page = 0, Huge = 0, Rss = 0 }
	for line in text:gmatch("[^\n]+") do
		if line:find("^%x+%-%x+ ") then
			inside = line:find("/memfd:guest%-ram") ~= nil
		elseif inside then
			local name, kib = line:match("^([%w_]+):%s*(%d+) kB")
			if name == "KernelPageSize" then
				m.Page = tonumber(kib)
			elseif name == "Private_Hugetlb" or name == "Shared_Hugetlb" then
				m.Huge = m.Huge + tonumber(kib)
			elseif name == "Rss" then
				m.Rss = m.Rss + tonumber(kib)
			end
		end
	end
	return m
end

local LARGE = { Memory = { BackingPageSize = "Large" } }

lab.test("a machine in large pages takes reserved ones of the host, and gives them back", function()
	reserve(130)
	local vm = lab.start({ memory = 256, run = "memsum,idle", append = "fh.mib=64 fh.above=16", document = LARGE })
	lab.equal(vm:expect("FH%-SUM %x+ (%a+)"), "good", "sum")
	vm:expect("FH%-IDLE")
	local h, m = huge_pages(), mapping(vm)
	local taken = h.total - h.free
	lab.equal(m.Page, 2048, "page size of the mapping")
	lab.check(m.Huge == taken * 2048, "%d KiB of huge pages are mapped, %d pages taken", m.Huge, taken)
	lab.equal(m.Rss, 0, "memory in small pages")
	lab.check(taken > 32 and taken + h.promised == 128, "%d pages are taken and %d promised", taken, h.promised)
	vm:call("reset")
	vm:expect("FH%-INIT")
	lab.equal(vm:expect("FH%-SUM %x+ (%a+)"), "good", "sum after a reset")
	vm:stop()
	reserve(0)
	lab.log("%d of 128 pages were in use", taken)
end)

lab.test("a machine in large pages is saved, and goes on in another worker's large pages", function()
	reserve(260)
	local c = { memory = 256, run = "memhold", append = "fh.mib=64 fh.above=16", document = LARGE }
	local vm = lab.start(c)
	vm:expect("FH%-HOLD")
	local file = assert(fh.memfd("saved"))
	vm:call("save", { Stream = file }, 60)
	file:seek(0)
	local other = lab.worker({})
	other:restore(c, file)
	other:call("resume")
	other:say("go\n")
	lab.equal(other:expect("FH%-SUM %x+ (%a+)"), "good", "sum")
	lab.equal(mapping(other).Page, 2048, "page size of the mapping")
	vm:stop()
	other:stop()
	reserve(0)
end)

lab.test("without enough reserved pages it is refused, and leaves nothing behind", function()
	for _, pages in ipairs({ 0, 127 }) do
		reserve(pages)
		local vm = lab.worker({})
		local why = vm:refused("create", { Machine = lab.document({ memory = 256, document = LARGE }) }, 12, "reserve more in /proc/sys/vm/nr_hugepages")
		lab.equal(vm:ended(10), "exit", "the worker's end")
		lab.equal(lab.read(vm.cgroup .. "/cgroup.procs"), "", "what is left in its control group")
		local h = huge_pages()
		lab.check(h.free == pages and h.promised == 0, "%d of %d pages are free, %d promised", h.free, pages, h.promised)
		lab.log("with %d pages: %s", pages, why)
	end
	reserve(0)
end)

-- --- little memory ---------------------------------------------------------------------------------------

lab.test("a machine of 32 MiB runs, one of 31 is refused", function()
	local little = { image = "/lab/hostile64", initrd = false, memory = 32, processors = 2 } -- it waits long for a second one
	local vm = lab.start(little)
	vm:expect("HK%-READY")
	lab.equal(vm:call("statistics").MemoryInMB, 32, "memory in the statistics")
	vm:call("reset")
	vm:expect("HK%-READY")
	little.memory = 31
	local other = lab.worker({})
	other:refused("create", { Machine = lab.document(little) }, 22, "Machine.Memory.SizeInMB: 31 is not between 32 and ")
	little.memory = 32 -- and the worker can have another
	other:create(little)
end)
