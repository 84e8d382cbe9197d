# agent/: fh-agent, which owns the inventory and answers every call. agent/spawn/ is a program of its own.
LIBS      += agent
agent_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c))
PROGS     += fh-agent
AGENT_LDLIBS    := -lwebsockets -lssl -lcrypto -lcrypt -ljansson -lpthread
fh-agent_MAIN   := agent/main.c
fh-agent_LIBS   := agent transport worker fhdisk fh
fh-agent_LDLIBS  = $(AGENT_LDLIBS)

include agent/spawn/module.mk

# Adapters and addresses: libnl keeps its headers in a folder of their own.
AGENT_LDLIBS += -lnl-route-3 -lnl-3
%/agent/host_net.o %/tests/unit/host_net_test.o: CPPFLAGS += -I/usr/include/libnl3
file_test_LDFLAGS := -Wl,--wrap=fsync
# Jobs and events, which these units hear themselves.
vm_life_test_LDFLAGS := -Wl,--wrap=job_progress,--wrap=job_cancelled,--wrap=event_publish
# Those with a whole agent (tests/unit/fake_agent.h).
AGENT_TESTS := dispatch_test jobs_test client_test login_test events_test carriers_test methods_test
$(foreach t,$(AGENT_TESTS),$(eval $(t)_LDLIBS = $(AGENT_LDLIBS)))
machines_test_LDLIBS := $(AGENT_LDLIBS)
vm_disks_test_LDLIBS := $(AGENT_LDLIBS)
guest_calls_test_LDLIBS := $(AGENT_LDLIBS)
memory_balance_test_LDLIBS := $(AGENT_LDLIBS)
vhd_methods_test_LDLIBS := $(AGENT_LDLIBS)
disk_live_test_LDLIBS := $(AGENT_LDLIBS)
$B/tests/unit/vm_disks_test $B/tests/unit/vhd_methods_test $B/tests/unit/disk_live_test: | $B/bin/fh-disk

# The manual of the interface, from the tables of methods; a test compares it.
api: $B/bin/fh-agent
	$< --describe >docs/api.md
.PHONY: api
host_net_test_LDLIBS := -lnl-route-3 -lnl-3
rpc_fuzz_LDFLAGS   = $(AGENT_LDLIBS)
http_fuzz_LDFLAGS  = $(AGENT_LDLIBS)
uploads_test_LDLIBS  := $(AGENT_LDLIBS)
uploads_test_LDFLAGS := -Wl,--wrap=write
