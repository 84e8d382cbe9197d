# tests/lab: real guests on real KVM inside an emulated machine; see run.sh.
, := ,
LAB_CACHE := $(or $(FREEHOLD_CACHE),.cache)/lab

# The driver: a Lua interpreter that starts workers and talks to them. In the emulated machine, hence static.
PROGS += fh-lab
fh-lab_MAIN    := $(wildcard tests/lab/driver*.c)
fh-lab_LIBS    := fh
fh-lab_LDFLAGS := $(if $(SAN),,-static-pie)
fh-lab_LDLIBS  := -llua5.4 -ljansson -lm -lpthread
$(fh-lab_MAIN:%.c=$B/%.o): CPPFLAGS += -I/usr/include/lua5.4

# The worker with a way in, for the containment test: the worker's own objects, some of whose calls go to back_door/.
PROGS += fh-worker-open
fh-worker-open_MAIN    := hypervisor/main.c $(wildcard tests/lab/back_door/*.c)
fh-worker-open_LIBS    := worker fhdisk fh
fh-worker-open_LDFLAGS := $(fh-worker_LDFLAGS) $(addprefix -Wl$(,)--wrap=,ioctl syscall control_new walls_close_control \
	walls_close_processor walls_close_io chroot fchdir umount2 move_mount)
fh-worker-open_LDLIBS  := $(fh-worker_LDLIBS)

# What shell cannot do in a guest.
PROGS += guest-tool
guest-tool_MAIN    := $(wildcard tests/lab/guest/*.c)
guest-tool_LDFLAGS := $(if $(SAN),,-static)
guest-tool_LDLIBS  := -lpthread

# The same for 32-bit guests, with the C library of kernels.txt.
LIBC32 := $(LAB_CACHE)/libc-i386/usr
DIRS32 = $(LIBC32)/lib/i386-linux-gnu $(wildcard $(LAB_CACHE)/libgcc-i386/usr/lib/gcc/*/*)
$B/lab/guest-tool32: $(wildcard tests/lab/guest/*.c tests/lab/guest/*.h) $B/lab/kernels
	$(call say,LD,$@)
	$(Q)$(CC) -m32 -std=c17 -O2 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Wshadow -Wconversion -Wno-psabi -Werror \
		-I. -isystem $(LIBC32)/include/i386-linux-gnu -isystem /usr/include/x86_64-linux-gnu \
		$(addprefix -B,$(DIRS32)) $(addprefix -L,$(DIRS32)) -static -o $@ $(filter %.c,$^)

# A guest that means harm: the same source as a 32-bit and a 64-bit kernel.
HOSTILE := $(addprefix $B/lab/hostile,32 64)
$(HOSTILE): $B/lab/hostile%: $(addprefix tests/lab/hostile/,entry.S kernel.c vmbus.c devices.c kernel.h vmbus.h kernel.ld)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -m$* -std=c17 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -ffreestanding -nostdlib -static -fno-pic -I. \
		-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone -mgeneral-regs-only \
		-Wl,-T,tests/lab/hostile/kernel.ld,--build-id=none,-n -Wl,--no-warn-rwx-segments -o $@ $(filter %.S %.c,$^)

# Kernels, and the parts of the machines' memory images that do not change from run to run.
$B/lab/kernels: $(addprefix tests/lab/,kernels.txt modules.txt kernels.sh lib.sh)
	@mkdir -p $(@D)
	tests/lab/kernels.sh $(LAB_CACHE)
	@touch $@
$B/lab/images: $B/lab/kernels $B/bin/guest-tool $B/lab/guest-tool32 $(addprefix tests/lab/,image.sh init guest/init)
	tests/lab/image.sh $B/lab $(LAB_CACHE) $B/bin/guest-tool $B/lab/guest-tool32
	@touch $@
lab-image: $B/lab/images

# The lab: make lab, make lab T=boot (what is so called, and what begins with "boot-"). The long and the Intel suite alike.
LAB_PROGS := $(addprefix $B/bin/,fh-worker fh-lab fh-worker-open fh-disk)
LAB_ISO := $(if $(T),$(if $(filter thread install%,$(T)),yes),yes)
lab lab-long: $(if $(LAB_ISO),$B/image/freehold.iso $B/bin/fhsh)
lab lab-long lab-intel: lab-image $(LAB_PROGS) $(HOSTILE)
	BUILD=$B tests/lab/run.sh suite $@ $(T)

# A guest with its console on this terminal, without the appliance.
guest: deps
	@$(MAKE) -s lab-image $(LAB_PROGS)
	@BUILD=$B tests/lab/run.sh run

deps:
	@./packages.sh install packages.txt

.PHONY: lab-image lab lab-long lab-intel guest deps
