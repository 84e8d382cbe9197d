# shell/: fhsh, the Lua shell. Its parts are a library, so that tests and fuzz targets can have them.
LIBS      += shell
shell_SRC := $(filter-out shell/main.c,$(wildcard shell/*.c))
PROGS     += fhsh
fhsh_MAIN   := shell/main.c
fhsh_LIBS   := shell rpc fh
fhsh_LDLIBS := -llua5.4 -lreadline -lm $(RPC_LDLIBS)
%/shell/lua_json.o %/shell/lua_rpc.o %/shell/shell.o %/shell/main.o: CPPFLAGS += -I/usr/include/lua5.4

# What the tests of the client and of the shell need.
rpc_client_test_LDLIBS := $(RPC_LDLIBS)
units_test_LDLIBS      := -lm
table_test_LDLIBS      := -lm
command_test_LDLIBS    := $(fhsh_LDLIBS)
fhsh_test_LDLIBS       := -lutil
$B/tests/unit/fhsh_test: | $B/bin/fhsh
fhsh_fuzz_LDFLAGS      := -llua5.4 -lm
%/tests/fuzz/fhsh_fuzz.o: CPPFLAGS += -I/usr/include/lua5.4
transport_client_test_LDLIBS := $(RPC_LDLIBS)
