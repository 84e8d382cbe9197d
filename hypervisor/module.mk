# hypervisor/: fh-worker, one process per child partition.
LIBS       += worker fhdisk
# The disk library: formats of images and the I/O loop they work on, for tools, too.
fhdisk_SRC := $(wildcard hypervisor/disk/*.c) hypervisor/core/io_loop.c
fh-disk_MAIN := $(wildcard hypervisor/disk_tool/*.c)
worker_SRC := $(filter-out hypervisor/sandbox/gen_filters.c $(fhdisk_SRC) $(fh-disk_MAIN),$(wildcard hypervisor/*/*.c))
PROGS      += fh-worker fh-disk
fh-worker_MAIN    := hypervisor/main.c
fh-worker_LIBS    := worker fhdisk fh
# Static: no loader to run at every start, and the empty mount namespace has no libraries.
fh-worker_LDFLAGS := $(if $(SAN),,-static-pie)
# liburing: the shared one of Debian 12 lacks two calls that the static one has.
fh-worker_LDLIBS  := -ljansson -l:liburing.a -lpthread

# The images' tool: docs/fh-disk.md.
fh-disk_LIBS      := fhdisk fh
fh-disk_LDFLAGS   := $(if $(SAN),,-static-pie)
fh-disk_LDLIBS    := -ljansson -l:liburing.a -lpthread
$B/tests/unit/fh_disk_test: | $B/bin/fh-disk

# ACPI: each .asl becomes an array of bytes (NAME_aml_code) in a header.
ASL := $(wildcard hypervisor/boot/acpi/*.asl)
GEN += $(ASL:hypervisor/boot/acpi/%.asl=$B/gen/%.aml.h)
$B/gen/%.aml.h: hypervisor/boot/acpi/%.asl
	@mkdir -p $(@D)
	$(call say,IASL,$@)
	$(Q)iasl -we -vs -p $B/gen/$* -tc $< >$B/gen/$*.log || { cat $B/gen/$*.log; exit 1; }
	@mv $B/gen/$*.hex $@

# Sandbox: the table of system calls compiled to BPF, at build time, by a small program.
GEN += $B/gen/filters.h
$B/gen/filters.h: hypervisor/sandbox/gen_filters.c hypervisor/sandbox/syscalls.c \
		hypervisor/sandbox/tool_syscalls.c hypervisor/sandbox/syscalls.h
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -I. $(WARN) -o $B/gen/gen_filters $(filter %.c,$^) -lseccomp
	$(Q)$B/gen/gen_filters >$@
