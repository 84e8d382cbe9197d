-- scripts/report.lua - the host and its machines on one page, for people (default) or programs (--json).
--
--   fhsh report.lua [--json]
--   fhsh -H web report.lua --json >web.json
--
-- Exit code 0; 1 when a machine is in the state Critical.

local usage = "usage: fhsh report.lua [--json]"
local as_json = false
for _, a in ipairs(arg) do
	if a == "--json" then
		as_json = true
	else
		io.stderr:write(usage, "\n")
		os.exit(a == "--help" and 0 or 2)
	end
end

local function count(list, what)
	local n = 0
	for _, x in ipairs(list) do
		if what(x) then n = n + 1 end
	end
	return n
end

-- What the report holds: the same for people and for programs.
local function gather()
	local h, machines = host.get(), vm.list().vms
	local sum = { machines = #machines, memory = 0, processors = 0 }
	for _, state in ipairs{ "Running", "Off", "Paused", "Saved", "Critical" } do
		sum[state:lower()] = count(machines, function(m) return m.state == state end)
	end
	local disks = {}
	sum.disks, sum.diskSize, sum.diskUsed = 0, 0, 0
	for _, m in ipairs(machines) do
		-- One may have been deleted since the list was made, and a host may be older than disks.
		local ok, answer = pcall(function() return disk.list(m.name) end)
		for _, d in ipairs(ok and answer.disks or {}) do
			d.vm = m.name
			disks[#disks + 1] = d
			sum.disks = sum.disks + 1
			sum.diskSize = sum.diskSize + (tonumber(d.size) or 0)
			sum.diskUsed = sum.diskUsed + (tonumber(d.used) or 0)
		end
		if m.state == "Running" then
			sum.memory = sum.memory + (tonumber(m.memory) or 0)
			sum.processors = sum.processors + (tonumber(m.processors) or 0)
		end
	end
	return { host = h, machines = json.array(machines), disks = json.array(disks), sum = sum }
end

local function heading(text)
	print(text)
	print(("-"):rep(#text))
end

local function show(r)
	local sum = r.sum
	heading("Host " .. tostring(r.host.name))
	print_table(r.host)
	print()
	heading("Machines")
	print(("%d: %d running, %d off, %d paused, %d saved, %d critical"):format(sum.machines, sum.running, sum.off,
		sum.paused, sum.saved, sum.critical))
	print(("running ones have %d MiB of memory and %d processors"):format(sum.memory, sum.processors))
	print()
	print_table(vms())
	if sum.disks > 0 then
		print()
		heading("Disks")
		print(("%d disks and DVDs of %.1f GiB; %.1f GiB of the data disk are used"):format(sum.disks,
			sum.diskSize / 2^30, sum.diskUsed / 2^30))
		print()
		print(("%-20s %-5s %-11s %9s %9s  %s"):format("machine", "place", "type", "GiB", "used GiB", "file"))
		for _, d in ipairs(r.disks) do
			print(("%-20s %-5s %-11s %9.1f %9.1f  %s%s"):format(d.vm, d.place, d.type,
				(tonumber(d.size) or 0) / 2^30, (tonumber(d.used) or 0) / 2^30, tostring(d.path),
				d.problem ~= "" and d.problem and ": " .. tostring(d.problem) or ""))
		end
	end
	for _, m in ipairs(r.machines) do
		if m.state == "Critical" then
			print(("\n%s is critical: %s"):format(m.name, tostring(m.reason)))
		end
	end
end

local r = gather()
if as_json then
	print(json.encode(r, true))
else
	show(r)
end
return r.sum.critical == 0 and 0 or 1
