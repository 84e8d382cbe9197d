-- scenario.lua NAME - runs the scenario of that name in the lab's machine. NAME-VARIANT is NAME.lua with
-- lab.variant set, so that one file's tests can be spread over several machines.
lab = dofile("/lab/lab.lua")
lab.name = ...
local stem = lab.name
while not lab.read("/lab/" .. stem .. ".lua") do
	stem = lab.check(stem:match("^(.+)%-"), "no scenario %s", lab.name)
	lab.variant = lab.name:sub(#stem + 2)
end
dofile("/lab/" .. stem .. ".lua")
os.exit(not lab.failed, true)
