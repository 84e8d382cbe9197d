-- boot.lua - stock kernels reach their init as Hyper-V guests, with what Linux uses of Hyper-V in use.
-- Variants: the kernel series, so that they can run on two machines.

local kernels = {
	["6.12"] = { "cloud-6.12", "full-6.12" },
	["6.1"] = { "cloud-6.1", "full-6.1" },
	pae = { "pae-6.1" },
	intel = { "cloud-6.12", "cloud-6.1" },
}

-- A fault of 32-bit Linux 6.1 itself: with retpolines, its call of the hypercall page takes the address from the
-- wrong place on the stack (`push 0xc(%esp)` behind a `call`), and the first TLB flush of two processors crashes it.
local NO_RETPOLINE = "spectre_v2=off"

-- What the guest's own log says of the enlightenments that it took into use.
local function enlightened(r, processors)
	lab.check(r.hyperv:find("Hypervisor detected: Microsoft Hyper%-V") or r.hyperv:find("Hyper%-V: privilege flags"),
		"the guest does not see Hyper-V: %s", r.hyperv)
	-- Where the host's TSC is invariant, the guest may know (AccessTscInvariantControls) and then prefers it.
	local privileges = tonumber(r.hyperv:match("privilege flags low (0x%x+)") or "0")
	lab.equal(r.clock, privileges & 0x8000 ~= 0 and "tsc" or "hyperv_clocksource_tsc_page", "clock source")
	lab.equal(r.cpus, processors, "processors")
	if processors > 1 then
		lab.check(r.hyperv:find("Hyper%-V: Using IPI hypercalls"), "no IPI hypercalls: %s", r.hyperv)
		lab.check(r.hyperv:find("Hyper%-V: Using hypercall for remote TLB flush"), "no TLB flush hypercalls: %s", r.hyperv)
	end
end

local function boots(kernel, processors)
	lab.test(string.format("%s with %d processor(s)", kernel, processors), function()
		if kernel == "pae-6.1" and lab.emulated then
			lab.skip("QEMU's emulated SVM goes astray in 32-bit guests before they page; see make lab-intel")
		end
		local vm = lab.start({ kernel = kernel, processors = processors, memory = 256, run = "report,warnings,poweroff",
			append = kernel == "pae-6.1" and processors > 1 and NO_RETPOLINE or "" })
		local version = vm:expect("FH%-INIT (%S+)", 60)
		lab.equal(version .. "\n", lab.read("/guests/" .. kernel .. "/version"), "version")
		local r = vm:report()
		if kernel ~= "pae-6.1" then
			enlightened(r, processors)
		else
			lab.equal(r.cpus, processors, "processors")
			lab.check(r.clock:find("^hyperv_clocksource") or r.clock == "tsc", "clock source is %s", r.clock)
		end
		vm:no_warnings(kernel)
		vm:expect("FH%-POWEROFF")
		vm:wait("off", 20)
	end)
end

for _, kernel in ipairs(kernels[lab.variant]) do
	for _, processors in ipairs((lab.variant == "pae" or lab.variant == "intel") and { 1, 2 } or { 1, 2, 4 }) do
		boots(kernel, processors)
	end
end
