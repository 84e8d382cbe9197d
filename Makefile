# Makefile - one make, no recursion. `make run` and `make test` are all a newcomer needs;
# `make help` lists the rest. Each room's module.mk adds its programs and sources.

B      := build$(if $(SAN),-san)
CC     ?= gcc
CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
	  -Wno-missing-field-initializers -Werror
# LTO is off and sections are collected, so that the worker holds only what it calls.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. -I$B/gen -MMD -MP $(WARN) -fPIE -ffunction-sections \
	-fdata-sections -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS)
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

all:

# A room adds:  NAME_SRC (sources of build/libNAME.a), GEN (generated headers under $B/gen), PROGS.
LIBS  :=
PROGS :=
GEN   :=
include lib/module.mk hypervisor/module.mk tests/module.mk
