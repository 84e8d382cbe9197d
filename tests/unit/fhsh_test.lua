-- tests/unit/fhsh_test.lua - what a script finds in fhsh, checked from within, against the fake agent of
-- fhsh_test.c: web1 runs with 2048 MiB, web2 is off.

local function same(got, wanted, what)
	if got ~= wanted then
		error(("%s: got %s, wanted %s"):format(what, tostring(got), tostring(wanted)), 2)
	end
end

local function raises(f, symbol)
	local ok, e = pcall(f)
	same(ok, false, "raised")
	same(type(e), symbol and "table" or "string", "kind of error")
	if symbol then same(e.symbol, symbol, "symbol") end
	return e
end

-- arguments
same(arg[0]:match("fhsh_test"), "fhsh_test", "arg[0]")
same(arg[1], "one", "arg[1]")
same(select(2, ...), "two words", "...")

-- answers have the shape of the wire
local list = vm.list()
same(#list.vms, 2, "number of machines")
same(list.vms[1].name, "web1", "name")
same(#vm.list{state="off"}.vms, 1, "choices in any case")
same(vm.get("web1").vm.memory, 2048, "an integer")
same(math.type(vm.get("web1").vm.memory), "integer", "its type")

-- handles are live
local v = vm"web1"
same(tostring(v), "vm web1", "text")
same(v.state, "Running", "property")
same(v, vm("web1"), "equal by name")
same(v == vm"web2", false, "and not otherwise")
same(v:start().changed, false, "a call that changes nothing")
v.memory = "4G"
same(v:set{memory="1G"}.restart[1], "memory", "what needs a restart")
same(vm.start(v).changed, false, "a handle where a name is wanted")
same(v:stop{mode="turnOff", timeout="1m"}.changed, true, "a job is waited for")
same(v:stop{async=true}.job, "7", "or left")
same(v:start().changed, true, "start again")

-- lists iterate
local names = {}
for m in vms{} do names[#names + 1] = m.name .. "=" .. m.state end
same(table.concat(names, " "), "web1=Running web2=Off", "iteration")
same(#vms{state="Running"}, 1, "filter")
for m in vms() do m:get() end

-- what there is one of has its properties at once
same(host.name, "alpha", "host.name")
host.name = "beta"
same(host.set{dns={}}.changed, true, "an empty list")
same(nic.vlan.set{vm="web1", id=7}.changed, true, "a noun within a noun")
same(call("vm.list").vms[2].name, "web2", "call by name")

-- failures raise; what is wrong in itself, too, whatever strict says
local e = raises(function() vm.start("nobody") end, "VM_NOT_FOUND")
same(e.code, 1404, "code")
same(e.path, "vm", "path")
same(e.hint, "vm list shows the machines.", "hint")
same(tostring(e):match("^[^:]+:%d+: (.*)$"),
	"no machine is called so (parameter vm). vm list shows the machines.", "text")
raises(function() vm.start() end, "USAGE")
raises(function() vm.create{name="x", memroy=1} end, "USAGE")
raises(function() vm.create{name="x", memory="2X"} end, "USAGE")
raises(function() vm.start("a", "b") end, "USAGE")
raises(function() vm.start(print) end, "USAGE")
raises(function() vm.start{vm=function() end} end, "USAGE")
raises(function() vm.delete("web1") end, "NOT_CONFIRMED")
raises(function() return vm.strt end)
raises(function() return vm"web1".nothing.x end)
raises(function() call("no.such") end)
raises(function() vm.colour = "red" end, "USAGE")
local circle = {}
circle.circle = circle
raises(function() vm.create(circle) end, "USAGE")

same(strict(false), true, "strict by default")
local r, message, code, whole = vm.start("nobody")
same(r, nil, "nil")
same(message, "no machine is called so", "message")
same(code, 1404, "code")
same(whole.symbol, "VM_NOT_FOUND", "the whole error")
raises(function() vm.create{name="x", memroy=1} end, "USAGE")
strict(true)

-- a dry run changes nothing and ends with its function
local plan
whatif(function() plan = vm.start("web2") end)
same(plan.would[1], "do something to the machine", "plan")
raises(function() whatif(function() error("stop") end) end)
same(vm.start("web1").would, nil, "no dry run any more")
same(vm.delete{vm="web1", dryRun=true}.dryRun, true, "a dry run needs no confirmation")

-- JSON
same(json.encode(json.decode('{"a":[1,2.5,"x",true,null,{}]}')), '{"a":[1,2.5,"x",true,null,{}]}', "round trip")
same(json.encode(json.array()), "[]", "an empty list")
same(json.decode("[1,2"), nil, "not JSON")
same(json.decode("null"), null, "null")
raises(function() json.encode(0/0) end)
raises(function() json.encode("\xff") end)
raises(function() json.encode{ [{}] = 1 } end)

-- events
event.subscribe()
same(next_event(5).seq, 1, "the first event")
same(next_event(5).seq, 2, "the second")
same(next_event(5).data.vm, "web1", "its data")
same(next_event(0), nil, "no more")

print("all is well")
