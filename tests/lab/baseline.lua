-- baseline.lua - a guest sees the features of its Processor.Baseline and no others, by the CPUID instruction and
-- as its kernel lists them.

-- Levels of the x86-64 psABI ("micro-architecture levels"): name in /proc/cpuinfo, leaf, register, bit. Without XSAVE
-- in use (lab.document), Linux does not list those marked so.
local XSAVE = true
local levels = {
	["x86-64-v2"] = {
		{ "cx16", "1.0", "c", 13 }, { "lahf_lm", "80000001.0", "c", 0 }, { "popcnt", "1.0", "c", 23 }, { "pni", "1.0", "c", 0 },
		{ "sse4_1", "1.0", "c", 19 }, { "sse4_2", "1.0", "c", 20 }, { "ssse3", "1.0", "c", 9 },
	},
	["x86-64-v3"] = {
		{ "avx", "1.0", "c", 28, XSAVE }, { "avx2", "7.0", "b", 5, XSAVE }, { "bmi1", "7.0", "b", 3 }, { "bmi2", "7.0", "b", 8 },
		{ "f16c", "1.0", "c", 29, XSAVE }, { "fma", "1.0", "c", 12, XSAVE }, { "abm", "80000001.0", "c", 5 },
		{ "movbe", "1.0", "c", 22 }, { "xsave", "1.0", "c", 26, XSAVE },
	},
	["x86-64-v4"] = {
		{ "avx512f", "7.0", "b", 16, XSAVE }, { "avx512bw", "7.0", "b", 30, XSAVE }, { "avx512cd", "7.0", "b", 28, XSAVE },
		{ "avx512dq", "7.0", "b", 17, XSAVE }, { "avx512vl", "7.0", "b", 31, XSAVE },
	},
}
local baselines = { "x86-64-v2", "x86-64-v3", "x86-64-v4" }

-- The registers that hold nothing but features.
local words = { { "1.0", "c" }, { "1.0", "d" }, { "7.0", "b" }, { "7.0", "c" }, { "7.0", "d" }, { "7.1", "a" }, { "d.0", "a" },
	{ "d.1", "a" }, { "80000001.0", "c" }, { "80000001.0", "d" }, { "80000007.0", "d" }, { "80000008.0", "b" } }

local function set_of(text)
	local set = {}
	for word in text:gmatch("%S+") do
		set[word] = true
	end
	return set
end

local host = set_of(lab.read("/proc/cpuinfo"):match("flags%s*:([^\n]*)"))

-- The first feature of this level or a lower one that the host does not have.
local function lacking(baseline)
	for _, name in ipairs(baselines) do
		for _, feature in ipairs(levels[name]) do
			if not host[feature[1]] then
				return feature[1]
			end
		end
		if name == baseline then
			return nil
		end
	end
end

-- QEMU's cmpxchg16b may not be used (run.sh), and of all that x86-64-v3 needs it is the only thing that the emulated
-- processor lacks. So the worker is told that it is there, and the guest's kernel that it is not.
local claimed = lab.emulated and lacking("x86-64-v3") == "cx16"

local function look(baseline)
	local vm = lab.start({ run = "cpuid,features,poweroff", append = claimed and "clearcpuid=cx16" or "",
		program = claimed and "fh-worker-open" or nil, environment = claimed and "FH_BACK_DOOR=cx16" or nil,
		document = { Processor = { Baseline = baseline } } })
	local seen = { flags = set_of(vm:expect("flags%s*:([^\n]*)", 90)), leaf = {} }
	for leaf, rest in vm:expect("(FH%-CPUID .-)FH%-END features"):gmatch("FH%-CPUID (%x+%.%d) ([^\n]*)") do
		seen.leaf[leaf] = {}
		for register, value in rest:gmatch("(%a)=(%x+)") do
			seen.leaf[leaf][register] = tonumber(value, 16)
		end
	end
	vm:wait("off", 20)
	return seen
end

local function has(seen, feature)
	return seen.leaf[feature[2]][feature[3]] >> feature[4] & 1 == 1
end

local function check_level(seen, baseline)
	local below = true
	for _, name in ipairs(baselines) do
		for _, feature in ipairs(levels[name]) do
			lab.equal(has(seen, feature), below, feature[1] .. " by CPUID")
			if not lab.emulated or not (feature[5] or feature[1] == "cx16") then
				lab.equal(seen.flags[feature[1]] or false, below, feature[1] .. " in the kernel's list")
			end
		end
		below = below and name ~= baseline
	end
end

-- How many features `all` has more than `part`, which may have none that `all` has not.
local function more(all, part)
	local n = 0
	for _, w in ipairs(words) do
		local a, p = all.leaf[w[1]][w[2]], part.leaf[w[1]][w[2]]
		lab.check(p & ~a == 0, "CPUID %s, register %s: %#x, where the wider baseline has %#x", w[1], w[2], p, a)
		for bit = 0, 31 do
			n = n + ((a & ~p) >> bit & 1)
		end
	end
	for flag in pairs(part.flags) do
		lab.check(all.flags[flag], "the kernel lists %s, which the wider baseline has not", flag)
	end
	return n
end

local wider

lab.test("host: the guest sees the host's features and no others", function()
	local seen = look("host")
	for _, name in ipairs(baselines) do
		for _, feature in ipairs(levels[name]) do
			local there = host[feature[1]] or (claimed and feature[1] == "cx16") or false
			lab.equal(has(seen, feature), there, feature[1] .. " by CPUID")
		end
	end
	wider = seen
end)

for i = #baselines, 1, -1 do
	local baseline = baselines[i]
	local lacks = lacking(baseline)
	if lacks then
		lab.test(baseline .. ": refused, as the host's processor has not all of it", function()
			local vm = lab.worker({})
			local why = vm:refused("create", { Machine = lab.document({ document = { Processor = { Baseline = baseline } } }) }, 95,
				"Processor.Baseline: this host's processor has no ")
			local named = why:match("has no (%S+),")
			lab.check(not host[named], "it names %s, which the host has", named)
			lab.equal(vm:ended(10), "exit", "the worker's end")
			lab.log("%s", why)
		end)
	end
	if not lacks or (claimed and baseline ~= "x86-64-v4") then
		lab.test(baseline .. ": the guest sees all of it, and nothing of the levels above", function()
			lab.check(wider, "there is nothing to compare with")
			local seen = look(baseline)
			check_level(seen, baseline)
			local n = more(wider, seen)
			lab.log("%d features fewer than the next wider baseline", n)
			lab.check(n > 0, "nothing was hidden")
			wider = seen
		end)
	end
end
