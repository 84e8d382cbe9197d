-- pair.lua - two machines of the lab reach each other over their cable. Both run this; role a or b.

lab.test("machine " .. lab.role .. " reaches its peer", function()
	local text, status = lab.run("ping -c 3 -W 5 " .. lab.peer)
	lab.check(status == 0, "ping: %s", text)
end)

lab.test("machine " .. lab.role .. " exchanges bytes with its peer", function()
	local fd <close> = lab.role == "a" and assert(fh.accept(assert(fh.listen(7000)))) or
		assert(fh.connect(lab.peer, 7000))
	assert(fd:write(lab.role))
	lab.equal(fd:read(1), lab.role == "a" and "b" or "a", "what the peer sent")
end)
