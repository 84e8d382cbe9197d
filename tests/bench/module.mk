# tests/bench: our worker beside Debian's QEMU, in counted instructions; see docs/performance.md.
# The three programs run in the emulated machine or its guest, hence static.
PROGS += fh-start guest-init vmbench
fh-start_MAIN      := tests/bench/fh-start.c
fh-start_LIBS      := fh
fh-start_LDFLAGS   := $(if $(SAN),,-static-pie)
fh-start_LDLIBS    := -ljansson -lpthread
guest-init_MAIN    := tests/bench/guest-init.c
guest-init_LDFLAGS := $(if $(SAN),,-static)
vmbench_MAIN       := $(wildcard tests/bench/vmbench*.c)
vmbench_LDFLAGS    := $(if $(SAN),,-static)

# Disk images run on this machine itself, and are all that is measured with: make bench-image
bench-image: $B/bin/fh-disk
	@BUILD=$B CC='$(CC)' tests/bench/run.sh images

# make bench, make bench T=boot, make bench RECORD=1
bench: $B/lab/kernels $(addprefix $B/bin/,fh-disk fh-worker fh-start guest-init vmbench)
	@BUILD=$B CC='$(CC)' tests/bench/run.sh $(T)

.PHONY: bench bench-image
