# agent/spawn/: fh-spawn, the only program that starts workers. Small on purpose, and static: it is root.
LIBS      += spawn
spawn_SRC := $(filter-out agent/spawn/main.c,$(wildcard agent/spawn/*.c))
PROGS     += fh-spawn
fh-spawn_MAIN    := agent/spawn/main.c
fh-spawn_LIBS    := spawn fh
fh-spawn_LDFLAGS := $(if $(SAN),,-static-pie)
fh-spawn_LDLIBS  := -ljansson -lpthread
