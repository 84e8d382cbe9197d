# lib/: what several programs share. Apart from fh, which every program may link, are
#   rpc        the client of the appliance's RPC: it needs libwebsockets and OpenSSL (RPC_LDLIBS)
#   transport  the server's side of its carriers, the agent's alone: libwebsockets and OpenSSL, too
LIBS   += fh rpc transport
rpc_SRC       := $(wildcard lib/rpc_client*.c) lib/transport_client.c
transport_SRC := $(filter-out $(rpc_SRC),$(wildcard lib/transport_*.c))
fh_SRC        := $(filter-out $(rpc_SRC) $(transport_SRC),$(wildcard lib/*.c))
RPC_LDLIBS := -lwebsockets -lssl -lcrypto -ljansson -lpthread
source_test_LDLIBS := $(RPC_LDLIBS)
