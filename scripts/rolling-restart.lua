-- scripts/rolling-restart.lua - restarts machines one after another: each is shut down, started and waited
-- for before the next one is touched. The first failure ends it, so that at most one machine is down.
--
--   fhsh rolling-restart.lua [--timeout=SECONDS] [--settle=SECONDS] [--turn-off] [--what-if] NAME...
--
-- NAME may be a pattern ("web*"). A machine that is not running is left as it is.
--
--   --timeout   how long one may take to shut down, and to come up (default 120)
--   --settle    how long it must have run before it counts as back (default 5)
--   --turn-off  switch off what does not shut down in time, rather than stop here
--   --what-if   only tell what would be done
--
-- Exit code 0: all are back; 1: one is not; 2: wrongly called, or no machine of that name.

local usage = "usage: fhsh rolling-restart.lua [--timeout=S] [--settle=S] [--turn-off] [--what-if] NAME..."
local option = { timeout = 120, settle = 5 }
local patterns = {}

local function refuse(text)
	io.stderr:write(text, "\n")
	os.exit(2)
end

for _, a in ipairs(arg) do
	local name, value = a:match("^%-%-([%w-]+)=?(.*)$")
	if a == "--help" then
		print(usage)
		os.exit(0)
	elseif not name then
		patterns[#patterns + 1] = a
	elseif name == "timeout" or name == "settle" then
		option[name] = tonumber(value)
		if not option[name] or option[name] < 0 then refuse("--" .. name .. ": a number of seconds is wanted") end
	elseif name == "turn-off" or name == "what-if" then
		option[name] = true
	else
		refuse(usage)
	end
end
if #patterns == 0 then refuse(usage) end

-- The machines meant, in the order given, each once.
local function choose()
	local chosen, seen = {}, {}
	for _, pattern in ipairs(patterns) do
		local found = vm.list{ name = pattern }.vms
		if #found == 0 then refuse("no machine is called " .. pattern) end
		for _, m in ipairs(found) do
			if not seen[m.id] then
				seen[m.id] = true
				chosen[#chosen + 1] = m
			end
		end
	end
	return chosen
end

-- Waits until test is true; false after the time.
local function wait_for(seconds, test)
	local deadline = os.time() + seconds
	while not test() do
		if os.time() >= deadline then return false end
		sleep(0.5)
	end
	return true
end

local function state(id)
	return vm.get(id).vm.state
end

local function stop(m)
	local ok, e = pcall(vm.stop, { vm = m.id, timeout = math.floor(option.timeout) })
	if not ok and option["turn-off"] then
		print(m.name .. ": does not shut down, switching it off")
		ok, e = pcall(vm.stop, { vm = m.id, mode = "turnOff" })
	end
	if not ok then return nil, tostring(type(e) == "table" and e.message or e) end
	if not wait_for(10, function() return state(m.id) == "Off" end) then return nil, "it does not stop" end
	return true
end

-- Back is who runs, and still runs after a while.
local function start(m)
	vm.start(m.id)
	if not wait_for(option.timeout, function() return state(m.id) == "Running" end) then
		return nil, "it does not come up"
	end
	sleep(option.settle)
	if state(m.id) ~= "Running" then return nil, "it came up and went down again" end
	return true
end

local function restart(m)
	print(m.name .. ": shutting down")
	local ok, why = stop(m)
	if not ok then return nil, why end
	print(m.name .. ": starting")
	ok, why = start(m)
	if not ok then return nil, why end
	print(m.name .. ": is back")
	return true
end

local left = {}
for _, m in ipairs(choose()) do
	if m.state ~= "Running" then
		print(m.name .. ": is " .. m.state .. ", left as it is")
	elseif option["what-if"] then
		print(m.name .. ": would be restarted")
	else
		left[#left + 1] = m
	end
end

for i, m in ipairs(left) do
	local ok, done, why = pcall(restart, m)
	if not ok then done, why = nil, tostring(type(done) == "table" and done.message or done) end
	if not done then
		io.stderr:write(("%s: %s; %d more were not touched\n"):format(m.name, why, #left - i))
		os.exit(1)
	end
end
print(("%d restarted"):format(#left))
