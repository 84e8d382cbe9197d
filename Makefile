# Makefile - one make, no recursion. `make run` and `make test` are all a newcomer needs;
# `make help` lists the rest. Each room's module.mk adds its sources, programs and tests.

.DEFAULT_GOAL := all
B      := build$(if $(SAN),-san)
CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
	  -Wno-missing-field-initializers -Werror
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN := -fPIE -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
# Sections are collected at link time, so that a program holds only what it calls.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. -I$B/gen -MMD -MP $(WARN) $(HARDEN) -ffunction-sections \
	-fdata-sections $(CPPFLAGS) $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS = -Wl,--gc-sections -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)

# What a module.mk may add to:
LIBS  :=# static library NAME from NAME_SRC: $B/libNAME.a
PROGS :=# program NAME from NAME_MAIN and NAME_LIBS (libraries), linked with NAME_LDLIBS and NAME_LDFLAGS: $B/bin/NAME
GEN   :=# generated headers, made before anything is compiled

include lib/module.mk hypervisor/module.mk tests/module.mk

all: $(PROGS:%=$B/bin/%)

$B/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Functions, because a % in the prerequisites of a pattern rule would be replaced by its stem.
objects   = $(1:%.c=$B/%.o)
libraries = $(1:%=$B/lib%.a)

.SECONDEXPANSION:
$(LIBS:%=$B/lib%.a): $B/lib%.a: $$(call objects,$$($$*_SRC))
	@rm -f $@
	$(AR) rcsD $@ $^

$(PROGS:%=$B/bin/%): $B/bin/%: $$(call objects,$$($$*_MAIN)) $$(call libraries,$$($$*_LIBS))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) $($*_LDFLAGS) -o $@ $^ $($*_LDLIBS)

clean:
	rm -rf build build-*

.PHONY: all clean
.DELETE_ON_ERROR:
-include $(shell find $B -name '*.d' 2>/dev/null)
