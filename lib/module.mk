# lib/: what several programs share.
# rpc, the client of the appliance's RPC, is apart: it needs libwebsockets and OpenSSL (RPC_LDLIBS).
LIBS   += fh rpc
rpc_SRC := $(wildcard lib/rpc_client*.c) lib/transport_client.c
RPC_LDLIBS := -lwebsockets -lssl -lcrypto -ljansson -lpthread
fh_SRC := $(filter-out $(rpc_SRC),$(wildcard lib/*.c))
