-- host.lua - what the lab's machine itself must be, so that a failure elsewhere is not blamed on the worker.

local KVM_CHECK_EXTENSION = 0xae03
local caps = {
	HYPERV = 44, HYPERV_SYNIC2 = 148, HYPERV_EVENTFD = 154, HYPERV_TLBFLUSH = 155, HYPERV_SEND_IPI = 161,
	HYPERV_CPUID = 167, HYPERV_ENFORCE_CPUID = 199, DIRTY_LOG_RING = 192, MANUAL_DIRTY_LOG_PROTECT2 = 168,
}

lab.test("KVM is here, with all that the Hyper-V interface needs", function()
	local kvm <close> = assert(fh.open("/dev/kvm", "rw"))
	for name, number in pairs(caps) do
		lab.check(kvm:ioctl(KVM_CHECK_EXTENSION, number) ~= 0, "KVM_CAP_%s is missing", name)
	end
end)

lab.test("guest memory can be large pages and control groups move quickly", function()
	local shmem = lab.read("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	lab.check(shmem:find("[advise]", 1, true), "shmem_enabled: %s", shmem)
	lab.check(lab.read("/proc/mounts"):find("cgroup2 [^\n]*favordynmods"), "cgroup2 without favordynmods")
	lab.check(lab.read("/sys/fs/cgroup/cgroup.subtree_control"):find("memory"), "no memory controller")
end)

lab.test("its clock is the time-stamp counter, which guests' reference time needs", function()
	lab.wait(10, "the clock source is not tsc", function()
		return lab.read("/sys/devices/system/clocksource/clocksource0/current_clocksource") == "tsc\n"
	end)
end)

lab.test("every guest kernel of the table is at hand", function()
	for _, name in ipairs(lab.read("/proc/cmdline"):find("lab.accel=bochs", 1, true) and { "cloud-6.12", "pae-6.1" } or
		{ "cloud-6.12", "cloud-6.1", "full-6.12", "full-6.1", "pae-6.1" }) do
		for _, file in ipairs({ "vmlinuz", "initrd", "version" }) do
			lab.check(lab.read("/guests/" .. name .. "/" .. file), "no %s of %s", file, name)
		end
	end
end)
