# installer/: fh-install, which puts the system onto a disk.
LIBS        += install
install_SRC := $(filter-out installer/main.c,$(wildcard installer/*.c))
PROGS       += fh-install
fh-install_MAIN   := installer/main.c
# Of the agent only what the host's settings look like.
fh-install_LIBS   := install agent fh
fh-install_LDLIBS := -lfdisk -lblkid -lcrypt -ljansson -lpthread
INSTALL_LDLIBS := $(fh-install_LDLIBS)
$(foreach t,answers disks layout boot_code install dialog silent,$(eval $(t)_test_LDLIBS := $(INSTALL_LDLIBS)))
