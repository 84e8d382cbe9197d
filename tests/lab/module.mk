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
fh-worker-open_LIBS    := worker fh
fh-worker-open_LDFLAGS := $(fh-worker_LDFLAGS) $(addprefix -Wl$(,)--wrap=,ioctl syscall control_new walls_close_control \
	walls_close_processor chroot fchdir umount2 move_mount)
fh-worker-open_LDLIBS  := $(fh-worker_LDLIBS)

# What shell cannot do in a guest.
PROGS += guest-tool
guest-tool_MAIN    := $(wildcard tests/lab/guest/*.c)
guest-tool_LDFLAGS := $(if $(SAN),,-static)
guest-tool_LDLIBS  := -lpthread

# A guest that means harm: the same source as a 32-bit and a 64-bit kernel.
HOSTILE := $(addprefix $B/lab/hostile,32 64)
$(HOSTILE): $B/lab/hostile%: $(addprefix tests/lab/hostile/,entry.S kernel.c kernel.ld)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -m$* -std=c17 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -ffreestanding -nostdlib -static -fno-pic \
		-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone -mgeneral-regs-only \
		-Wl,-T,tests/lab/hostile/kernel.ld,--build-id=none,-n -Wl,--no-warn-rwx-segments -o $@ $(filter %.S %.c,$^)

# Kernels, and the parts of the machines' memory images that do not change from run to run.
$B/lab/kernels: $(addprefix tests/lab/,kernels.txt modules.txt kernels.sh lib.sh)
	@mkdir -p $(@D)
	tests/lab/kernels.sh $(LAB_CACHE)
	@touch $@
$B/lab/images: $B/lab/kernels $B/bin/guest-tool $(addprefix tests/lab/,image.sh init guest/init)
	tests/lab/image.sh $B/lab $(LAB_CACHE) $B/bin/guest-tool
	@touch $@
lab-image: $B/lab/images

# The lab: make lab, make lab T=boot. The long and the Intel suite alike.
LAB_PROGS := $(addprefix $B/bin/,fh-worker fh-lab fh-worker-open)
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
