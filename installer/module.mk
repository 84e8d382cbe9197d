# installer/: fh-install, which puts the system onto a disk.
LIBS        += install
install_SRC := $(filter-out installer/main.c,$(wildcard installer/*.c))
PROGS       += fh-install
# Whether guests can run here it asks as the worker does, by that file alone.
fh-install_MAIN   := installer/main.c hypervisor/core/host.c
# Of the agent only what the host's settings look like.
fh-install_LIBS   := install agent fh
fh-install_LDLIBS := -lfdisk -lblkid -lcrypt -ljansson -lpthread
INSTALL_LDLIBS := $(fh-install_LDLIBS)
$(foreach t,answers disks layout boot_code boot_entry install dialog silent,$(eval $(t)_test_LDLIBS := $(INSTALL_LDLIBS)))
# Without the time that hashing a password is meant to take.
answers_fuzz_LDFLAGS := -Wl,--wrap=password_hash,--wrap=password_check_hash $(INSTALL_LDLIBS)
