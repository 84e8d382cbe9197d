-- ics.lua - integration services with stock drivers and Debian's daemons. Variants: the kernel they run on.

local storage = dofile("/lab/storage.lua")
local programs = dofile("/lab/programs.lua")
local release = lab.variant or "6.12"
local INSIDE = programs.INSIDE
local enter = programs.enter

local all = {
	Heartbeat = true, Shutdown = true, TimeSynchronization = true, KeyValuePairExchange = true, VSS = true,
	GuestServiceInterface = true,
}

local function start(more, nics)
	local c = { nics = nics, kernel = "cloud-" .. release, processors = 2, root = false, disks = {} }
	c.disks[1] = programs.disk(release, 1)
	c.document = { Devices = { ScsiControllers = 1, IntegrationServices = more or all } }
	local vm = storage.guest(c)
	vm:must("modprobe hv_utils", 30)
	return vm, c
end

local function daemon(vm, name)
	programs.run(vm, "/sbin/" .. name)
	vm:must("sleep 1; pidof " .. name)
end

local function component(vm, name)
	for _, c in ipairs(vm:call("ic_list").Components) do
		if c.Component == name then
			return c
		end
	end
	lab.fail("no component %s", name)
end

local function until_ready(vm, name, seconds)
	return lab.wait(seconds or 60, name .. " is not agreed on", function()
		local c = component(vm, name)
		return c.State == "Ok" and c
	end)
end

local function facts(vm, pool)
	local found = {}
	for _, item in ipairs(vm:call("kvp_enumerate", { Pool = pool }).Items) do
		found[item.Key] = item.Value
	end
	return found
end

-- Begins an operation and waits for its end: nil, or why it failed.
local function do_it(vm, method, params, seconds)
	vm:call(method, params)
	return vm:wait_integration("Ended", lab.names.methods[method], seconds or 60).Error
end

lab.test("the guest's heart is heard, and its silence", function()
	local vm = start()
	lab.equal(vm:wait_integration("Heartbeat", nil, 60).There, true, "there")
	local first = until_ready(vm, "Heartbeat")
	lab.equal(first.Version, "3.0", "version")
	lab.sleep(7)
	lab.check(component(vm, "Heartbeat").Answered > first.Answered + 1, "no more heartbeats")
	vm:call("pause")
	lab.sleep(15)
	lab.equal(component(vm, "Heartbeat").There, true, "a paused guest is not lost")
	vm:call("resume")
	lab.equal(vm:call("ic_set", { Component = "Heartbeat", Enabled = false }).changed, true, "changed")
	lab.equal(vm:wait_integration("Heartbeat", nil, 30).There, false, "there, switched off")
	vm:call("ic_set", { Component = "Heartbeat", Enabled = true })
	lab.equal(vm:wait_integration("Heartbeat", nil, 60).There, true, "there, switched on again")
	vm:must("rmmod hv_utils", 30)
	lab.equal(vm:wait_integration("Heartbeat", nil, 30).There, false, "there, without its driver")
	vm:must("modprobe hv_utils", 30)
	lab.equal(vm:wait_integration("Heartbeat", nil, 60).There, true, "there, with its driver again")
end)

lab.test("the guest shuts down when it is asked to", function()
	for _, kind in ipairs({ "Reboot", "PowerOff" }) do
		local vm = start()
		vm:must("mkdir -p /sbin; for f in poweroff reboot; do printf '#!/bin/sh\\nexec /bin/%s -f\\n' $f >/sbin/$f; " ..
			"chmod 755 /sbin/$f; done")
		until_ready(vm, "Shutdown")
		lab.equal(do_it(vm, "guest_shutdown", { Kind = kind, Reason = "the lab" }), nil, "error")
		if kind == "Reboot" then
			vm:expect("FH%-INIT", 120)
		else
			vm:wait("off", 120)
		end
		vm:stop()
	end
end)

lab.test("the guest's clock is set: at boot, on request, after a pause", function()
	local vm = start()
	local function off()
		return math.abs(tonumber((vm:must("date +%s"):match("%d+"))) - os.time())
	end
	until_ready(vm, "TimeSynchronization")
	vm:must("date -s @1000000000")
	lab.check(off() > 1000, "the guest's clock is not what the test has set")
	lab.equal(do_it(vm, "guest_time_sync"), nil, "error")
	lab.sleep(2)
	lab.check(off() <= 2, "the clock is %d s off after it was set", off())
	vm:must("date -s @1000000000")
	vm:call("pause")
	vm:call("resume")
	lab.sleep(3)
	lab.check(off() <= 2, "the clock is %d s off after a pause", off())
	-- The lab's own clock is set, forwards and back.
	for _, step in ipairs({ 5000, -5000 }) do
		lab.run("date -s @" .. os.time() + step)
		lab.wait(20, "the guest's clock does not follow", function()
			return off() <= 2
		end)
	end
end)

lab.test("facts go both ways", function()
	local vm = start()
	vm:call("kvp_set", { Pool = "Host", Key = "HostName", Value = "lab-höst" })
	enter(vm)
	vm:must("hostname guest-of-the-lab")
	daemon(vm, "hv_kvp_daemon")
	lab.equal(until_ready(vm, "KeyValuePairExchange", 90).Version, "4.0", "version")
	lab.wait(60, "no facts", function()
		return facts(vm, "Intrinsic").OSName
	end)
	local own = facts(vm, "Intrinsic")
	lab.equal(own.OSName, "Debian", "OSName")
	local kernel = tostring(own.OSVersion) .. " " .. tostring(own.OSBuildNumber)
	lab.check(kernel:find(release, 1, true), "version of the kernel: %s", kernel)
	lab.check(own.FullyQualifiedDomainName, "no name")
	lab.wait(30, "the host's fact is not told", function()
		return vm:call("kvp_get", { Pool = "Host", Key = "HostName" }).Told
	end)
	lab.check(vm:must("cat " .. INSIDE .. "/var/lib/hyperv/.kvp_pool_3 | tr -d '\\0'"):find("HostNamelab%-höst"), "pool 3")
	-- A fact of the guest's own: a record of 512 and 2048 bytes.
	vm:must(string.format("{ printf own; head -c 509 /dev/zero; printf value; head -c 2043 /dev/zero; } >>%s/var/lib/hyperv/.kvp_pool_1",
		INSIDE))
	lab.equal(do_it(vm, "kvp_enumerate", { Pool = "Guest", Refresh = true }), nil, "error")
	lab.equal(facts(vm, "Guest").own, "value", "the guest's fact")
	vm:call("kvp_delete", { Pool = "Host", Key = "HostName" })
	lab.wait(30, "the host's fact does not go", function()
		return not vm:must("cat " .. INSIDE .. "/var/lib/hyperv/.kvp_pool_3 | tr -d '\\0'"):find("HostName")
	end)
	-- There is no such adapter: the daemon says so.
	lab.check(do_it(vm, "guest_ip_get", { Adapter = "00:15:5D:00:00:01" }), "addresses of no adapter")
end)

-- What a distribution's script does with the file that the daemon writes.
local SCRIPT = [[#!/bin/sh\n. "$1"\nbusybox ip link set "$DEVICE" up\n]] ..
	[[busybox ip addr replace "$IPADDR0/24" dev "$DEVICE"\nbusybox ip route replace default via "$GATEWAY"\n]]

lab.test("addresses are set, and read back", function()
	lab.run("modprobe tun")
	local vm = start(nil, { { number = 0, mac = "00-15-5D-0A-00-01", tap = "fhtap9" } })
	lab.run("ip link set fhtap9 up; ip addr add 10.8.0.1/24 dev fhtap9")
	vm:must("modprobe hv_netvsc", 30)
	enter(vm)
	local folder = INSIDE .. "/usr/libexec/hypervkvpd/"
	vm:must(string.format("printf '%s' >%shv_set_ifconfig; chmod 755 %shv_set_ifconfig", SCRIPT, folder, folder))
	daemon(vm, "hv_kvp_daemon")
	until_ready(vm, "KeyValuePairExchange", 90)
	local device = vm:must("echo FH-ID $(cat /sys/class/net/eth0/device/device_id)"):match("FH%-ID (%S+)")
	lab.equal(do_it(vm, "guest_ip_set", {
		Adapter = device, Addresses = "10.8.0.77", Masks = "255.255.255.0", Gateways = "10.8.0.1", DnsServers = "10.8.0.1",
	}), nil, "error")
	lab.check(select(2, lab.run("ping -c 3 -W 5 10.8.0.77")) == 0, "no answer from the address that was set")
	vm:call("guest_ip_get", { Adapter = "00:15:5D:0A:00:01" })
	local said = vm:wait_integration("Ended", "guest.ip.get", 60)
	lab.equal(said.Error, nil, "error")
	lab.check(said.Ip.Addresses:find("10.8.0.77", 1, true), "the address that was set is not read back: %s", said.Ip.Addresses)
	lab.wait(150, "the address is not among the facts", function()
		return (facts(vm, "Intrinsic").NetworkAddressIPv4 or ""):find("10.8.0.77", 1, true)
	end)
end)

lab.test("a machine that moves keeps what was agreed on", function()
	local vm, c = start()
	enter(vm)
	daemon(vm, "hv_kvp_daemon")
	daemon(vm, "hv_vss_daemon")
	until_ready(vm, "KeyValuePairExchange", 90)
	until_ready(vm, "VSS", 90)
	lab.wait(60, "no facts", function()
		return facts(vm, "Intrinsic").OSName
	end)
	-- In the middle of an exchange, and frozen.
	lab.equal(do_it(vm, "guest_freeze", { TimeLimit = 600 }), nil, "error")
	vm:call("kvp_enumerate", { Pool = "Guest", Refresh = true })
	vm = storage.moved(vm, c)
	lab.equal(component(vm, "VSS").Frozen, true, "frozen, after it")
	vm:call("guest_thaw")
	lab.equal(vm:wait_integration("Ended", "guest.thaw", 60).Error, nil, "error")
	local first = component(vm, "Heartbeat")
	lab.sleep(7)
	lab.check(component(vm, "Heartbeat").Answered > first.Answered + 1, "no more heartbeats")
	lab.equal(do_it(vm, "kvp_enumerate", { Pool = "Guest", Refresh = true }), nil, "error")
	lab.equal(facts(vm, "Intrinsic").OSName, "Debian", "OSName")
	local now = tonumber((vm:must("date +%s"):match("%d+")))
	lab.check(math.abs(now - os.time()) <= 2, "the clock is %d s off", now - os.time())
end)

lab.test("a daemon may come late", function()
	local vm = start()
	lab.sleep(65) -- the driver looks again after 55 seconds, and goes on waiting
	lab.check(component(vm, "KeyValuePairExchange").State ~= "Ok", "a driver without its daemon has agreed")
	lab.check(component(vm, "Heartbeat").There, "the others wait for it")
	enter(vm)
	daemon(vm, "hv_kvp_daemon")
	until_ready(vm, "KeyValuePairExchange", 60)
	lab.wait(150, "no facts", function()
		return facts(vm, "Intrinsic").OSName
	end)
end)

lab.test("file systems stand still, and go on: on request, and after the time limit", function()
	local vm = start()
	enter(vm)
	daemon(vm, "hv_vss_daemon")
	until_ready(vm, "VSS", 90)
	for _, limit in ipairs({ 60, 5 }) do
		lab.equal(do_it(vm, "guest_freeze", { TimeLimit = limit }), nil, "error")
		lab.equal(component(vm, "VSS").Frozen, true, "frozen")
		vm:must("(date >" .. INSIDE .. "/stamp; sync; echo FH-WROTE) &")
		lab.sleep(2)
		lab.check(not vm:printed("FH%-WROTE"), "a frozen file system was written to")
		if limit == 60 then
			vm:call("guest_thaw")
		end
		lab.equal(vm:wait_integration("Ended", "guest.thaw", 60).Error, nil, "error")
		vm:expect("FH%-WROTE", 30)
		vm.console_text, vm.position = "", 1
	end
	-- Frozen, it is not switched off.
	lab.equal(do_it(vm, "guest_freeze", { TimeLimit = 60 }), nil, "error")
	vm:refused("ic_set", { Component = "VSS", Enabled = false }, nil, "thaw it first")
	vm:call("guest_thaw")
end)

local function copy(vm, path, params)
	params.File = assert(fh.open(path, "r"))
	params.Path = params.Path or "/tmp/copies/"
	local result, why = vm:try("guest_copy", params)
	params.File:close()
	lab.check(result, "%s", why)
	return vm:wait_integration("Ended", "guest.copy", 120).Error
end

lab.test("files are copied into the guest", function()
	if release == "6.12" then -- its driver has become a program on uio_hv_generic, which Debian 13 does not have
		lab.skip("no daemon for it in Debian")
	end
	local vm = start()
	enter(vm)
	daemon(vm, "hv_fcopy_daemon")
	until_ready(vm, "GuestServiceInterface", 90)
	lab.run("head -c 1000000 /dev/urandom >/tmp/source; : >/tmp/empty")
	local sum = lab.run("sha256sum </tmp/source"):match("^%x+")
	lab.equal(copy(vm, "/tmp/source", { Name = "numbers", CreatePath = true }), nil, "error")
	lab.equal(vm:must("sha256sum <" .. INSIDE .. "/tmp/copies/numbers", 30):match("%x+"), sum, "checksum")
	lab.check(copy(vm, "/tmp/source", { Name = "numbers" }), "a file that is there was overwritten")
	lab.equal(vm:must("sha256sum <" .. INSIDE .. "/tmp/copies/numbers", 30):match("%x+"), sum, "checksum")
	lab.equal(copy(vm, "/tmp/empty", { Name = "numbers", Overwrite = true }), nil, "error")
	lab.equal(vm:must("stat -c %s " .. INSIDE .. "/tmp/copies/numbers"):match("%d+"), "0", "size")
	lab.run("truncate -s 30M /tmp/source") -- more than its disk has
	lab.check(copy(vm, "/tmp/source", { Name = "large" }), "more than fits")
	vm:must("! test -e " .. INSIDE .. "/tmp/copies/large")
end)
