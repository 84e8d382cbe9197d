# agent/: fh-agent, which owns the inventory and answers every call. agent/spawn/ is a program of its own.
LIBS      += agent
agent_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c))
AGENT_LDLIBS := -lwebsockets -lssl -lcrypto -lcrypt -ljansson -lpthread
