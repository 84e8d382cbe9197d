# Makefile - one make, no recursion. `make run` and `make test` are all a newcomer needs;
# `make help` lists the rest. Each room's module.mk adds its sources, programs and tests.

.DEFAULT_GOAL := all
B      := build$(if $(SAN),-san)
CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
	  -Wno-missing-field-initializers -Wno-gnu-variable-sized-type-not-at-end -Werror
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN := -fPIE -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
# Sections are collected at link time, so that a program holds only what it calls.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. -I$B/gen -MMD -MP $(WARN) $(HARDEN) -ffunction-sections \
	-fdata-sections $(CPPFLAGS) $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS = -Wl,--gc-sections -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)

# Commands are shown with V=1, else what they make.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '%-5s %s\n' '$(1)' '$(2)')

# What a module.mk may add to:
LIBS  :=# static library NAME from NAME_SRC: $B/libNAME.a
PROGS :=# program NAME from NAME_MAIN and NAME_LIBS (libraries), linked with NAME_LDLIBS and NAME_LDFLAGS: $B/bin/NAME
GEN   :=# generated headers, made before anything is compiled

include $(filter-out tests/module.mk,$(wildcard */module.mk)) tests/module.mk

all: $(PROGS:%=$B/bin/%)

$B/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Functions, because a % in the prerequisites of a pattern rule would be replaced by its stem.
objects   = $(1:%.c=$B/%.o)
libraries = $(1:%=$B/lib%.a)

.SECONDEXPANSION:
# A file that moves to another library has to leave its old one, too.
$(LIBS:%=$B/lib%.a): $B/lib%.a: $$(call objects,$$($$*_SRC)) $(filter %module.mk,$(MAKEFILE_LIST))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcsD $@ $(filter %.o,$^)

$(PROGS:%=$B/bin/%): $B/bin/%: $$(call objects,$$($$*_MAIN)) $$(call libraries,$$($$*_LIBS))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $($*_LDFLAGS) -o $@ $^ $($*_LDLIBS)

help:
	@echo 'make run            the appliance: built, installed on a disk image, booted, its console here'
	@echo 'make iso            its ISO: build/image/freehold.iso'
	@echo 'make guest          a stock Debian guest in the worker, without the appliance, its console here'
	@echo 'make test           everything below, as continuous integration runs it; P="units lab" for some parts'
	@echo 'make check [T=x]    unit tests (SAN=address,undefined: with sanitizers; CC=clang B=build-clang)'
	@echo 'make lab [T=x]      real guests under emulation; lab-long, lab-intel: the longer suites'
	@echo 'make fuzz [T= S=]   fuzz targets; S= seconds each'
	@echo 'make crash [T=]     cuts and failures at every point'
	@echo 'make interop [T=]   disk images: what we write, others read, and back'
	@echo 'make bench [T=]     beside QEMU, in counted instructions'
	@echo 'make lint           clang-format, clang-tidy, cppcheck'
	@echo 'make deps           installs the packages of packages.txt (NO_DEPS=1: only says what is missing)'
	@echo 'V=1 shows commands. Results are in build/.'

clean:
	rm -rf build build-*

.PHONY: all clean help
.DELETE_ON_ERROR:
-include $(shell find $B -name '*.d' 2>/dev/null)
