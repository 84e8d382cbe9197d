-- nested.lua - a guest that runs a guest of its own.

lab.test("KVM works in a guest that is given virtualisation", function()
	local vm = lab.start({ run = "nested,poweroff",
		document = { Processor = { ExposeVirtualizationExtensions = true } } })
	lab.equal(vm:expect("FH%-NESTED ([^\n]*)", 90), "good", "the guest's guest")
	vm:wait("off")
end)

lab.test("without, the guest sees no virtualisation", function()
	local vm = lab.start({ run = "cpuid,poweroff" })
	local flags = vm:expect("flags%s*:([^\n]*)")
	lab.check(not flags:find("%f[%w]svm%f[%W]") and not flags:find("%f[%w]vmx%f[%W]"), "its flags: %s", flags)
	vm:wait("off")
end)
