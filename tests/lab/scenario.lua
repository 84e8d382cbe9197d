-- scenario.lua NAME - runs the scenario of that name in the lab's machine. NAME-VARIANT is NAME.lua with
-- lab.variant set, so that one file's tests can be spread over several machines.
lab = dofile("/lab/lab.lua")
lab.name = ...
local file = "/lab/" .. lab.name .. ".lua"
if not lab.read(file) then
	file = "/lab/" .. lab.name:match("^[^-]+") .. ".lua"
	lab.variant = lab.name:match("^[^-]+%-(.*)")
end
dofile(file)
os.exit(not lab.failed, true)
