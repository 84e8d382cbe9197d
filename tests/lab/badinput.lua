-- badinput.lua - what people give a machine by mistake: each is refused with one sentence that names the place, and
-- leaves no process and no descriptor behind.

local MIB = 1 << 20

-- --- kernels and initrds -----------------------------------------------------------------------------------

local function file(text)
	local f = assert(fh.memfd("image"))
	assert(f:write(text))
	return f
end

-- A file of that size, most of it a hole.
local function hole(size)
	local f = assert(fh.memfd("image"))
	f:seek(size - 1)
	assert(f:write("\0"))
	return f
end

local KERNEL = lab.read("/guests/cloud-6.12/vmlinuz")

-- An ELF kernel with a PVH note and a segment of a page at each of these addresses.
local function elf(...)
	local segments, at = { ... }, 0x1000
	local note = string.pack("<I4I4I4 c4 I4", 4, 4, 18, "Xen", segments[1] or 0)
	local headers = {}
	for i, address in ipairs(segments) do
		headers[i] = string.pack("<I4I4 I8I8I8 I8I8I8", 1, 7, at, address, address, 4096, 4096, 4096)
	end
	headers[#headers + 1] = string.pack("<I4I4 I8I8I8 I8I8I8", 4, 4, at, 0, 0, #note, #note, 4)
	local head = string.pack("<c16 I2I2I4 I8I8I8 I4 I2I2I2I2I2I2", "\127ELF\2\1\1" .. ("\0"):rep(9), 2, 62, 1, segments[1] or 0, 64, 0,
		0, 64, 56, #headers, 0, 0, 0)
	local text = head .. table.concat(headers)
	text = text .. ("\0"):rep(at - #text) .. note
	return text .. ("\0"):rep(at + 4096 - #text)
end

-- What the machine is given instead of a good kernel or initrd: errno, the sentence's beginning or all of it.
local images = {
	{ "a kernel cut in its middle", 22, "kernel: cut short: header says ", Kernel = function() return file(KERNEL:sub(1, #KERNEL // 2)) end },
	{ "a kernel cut in its header", 22, "kernel: cut short: ", Kernel = function() return file(KERNEL:sub(1, 0x210)) end },
	{ "an empty file as kernel", 8, "kernel: is neither a Linux kernel (bzImage) nor an ELF file", Kernel = function() return file("") end },
	{ "a text as kernel", 8, "kernel: is neither a Linux kernel (bzImage) nor an ELF file",
		Kernel = function() return file(lab.read("/lab/lab.lua")) end },
	{ "a program as kernel", 8, "kernel: is an ELF file without a PVH entry",
		Kernel = function() return assert(fh.open("/bin/busybox")) end },
	{ "overlapping segments", 22, "kernel: damaged: two segments at 0x400800",
		Kernel = function() return file(elf(0x400000, 0x400800)) end },
	{ "a segment above the memory", 7, "kernel: needs 4096 bytes at 0x20000000, memory ends at 128 MiB",
		Kernel = function() return file(elf(0x400000, 0x20000000)) end },
	{ "an initrd that does not fit", 7, "initrd: 134217728 bytes do not fit between ", Initrd = function() return hole(128 * MIB) end },
	{ "an empty initrd", 22, "initrd: is empty", Initrd = function() return file("") end },
	{ "a pipe as initrd", 22, "initrd: is not a regular file", Initrd = function()
		local read, write = fh.pipe()
		write:close()
		return read
	end },
}

-- One line that a person can read.
local function check_sentence(why)
	lab.check(#why < 200 and not why:find("%c"), "not one sentence: %s", why)
	lab.check(not why:find("errno") and not why:find("%-%d+$"), "a number in place of words: %s", why)
end

for _, row in ipairs(images) do
	lab.test(row[1], function()
		local document = lab.document({ memory = 128 })
		for _, name in ipairs({ "Kernel", "Initrd" }) do
			if row[name] then
				document.LinuxKernelDirect[name]:close()
				document.LinuxKernelDirect[name] = row[name]()
			end
		end
		local vm = lab.worker({})
		vm:call("create", { Machine = document })
		local before = vm:worker()
		for _ = 1, 3 do
			local why = vm:refused("start", nil, row[2], row[3])
			lab.equal(why:sub(1, #row[3]), row[3], "the sentence's beginning")
			check_sentence(why)
			local status = vm:call("status")
			lab.equal(status.State, "Off", "state")
			lab.equal(status.Reason, why, "reason")
		end
		local after = vm:worker()
		lab.equal(after.threads, before.threads, "threads")
		lab.equal(after.fds, before.fds, "descriptors")
		vm:try("quit")
		lab.equal(vm:ended(10), "exit", "the worker's end")
		lab.equal(lab.read(vm.log), "", "log")
		lab.equal(lab.read(vm.cgroup .. "/cgroup.procs"), "", "what is left in its control group")
	end)
end

-- --- configurations ------------------------------------------------------------------------------------------

-- What is merged into a good document, errno, sentence.
local documents = {
	{ { Processor = { Count = "many" } }, 22, "Machine.Processor.Count: not a whole number" },
	{ { Processor = { Count = 65 } }, 22, "Machine.Processor.Count: 65 is not between 1 and 64" },
	{ { Memory = { SizeInMB = -1 } }, 22, "Machine.Memory.SizeInMB: -1 is not between 32 and " },
	{ { Memory = { BackingPageSize = "Huge" } }, 22, "Machine.Memory.BackingPageSize: 'Huge' is not one of Small, Large" },
	{ { Colour = "red" }, 22, "Machine.Colour: unknown name" },
	{ { Id = "17" }, 22, "Machine.Id: not a GUID" },
	{ { LinuxKernelDirect = { Kernel = 1000 } }, 9, "Machine.LinuxKernelDirect.Kernel: no descriptor 1000 came along" },
	{ { Processor = { Count = 3, ThreadsPerCore = 2 } }, 22, "Processor.Count: 3 processors do not make whole cores of 2 threads" },
	{ { Processor = { Baseline = "pentium" } }, 22, "Processor.Baseline: 'pentium' is not one of host, x86-64-v2, " },
	{ { Numa = { Nodes = { { MemorySizeInMB = 64, ProcessorCount = 1 } } } }, 22,
		"Numa.Nodes: they have 64 MiB in all, the machine 128 MiB" },
}

for _, row in ipairs(documents) do
	lab.test("configuration: " .. row[3], function()
		local vm = lab.worker({})
		local before = vm:worker()
		local why = vm:refused("create", { Machine = lab.document({ memory = 128, document = row[1] }) }, row[2], row[3])
		lab.equal(why:sub(1, #row[3]), row[3], "the sentence's beginning")
		check_sentence(why)
		lab.equal(vm:worker().fds, before.fds, "descriptors")
		lab.equal(vm:worker().threads, before.threads, "threads")
		vm:create({ memory = 128 }) -- it waits for a better one
	end)
end
