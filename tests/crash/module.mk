# tests/crash/: make crash [T=name]. A target is NAME_crash.c and a row in targets.txt. Built again with
# sanitizers, so that whatever fails half-way shows what it leaks; the calls that fail are the linker's
# wrapped ones (fault.h).
CRASH_B      := build-crash
CRASH_SAN    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# What sprintf may cut is warned of in the ordinary build; with sanitizers at -O1 gcc guesses lengths wrongly.
CRASH_CFLAGS  = -std=c17 -D_GNU_SOURCE -I. -I$B/gen -MMD -MP $(WARN) -Wno-format-truncation $(CPPFLAGS) -O1 -g $(CRASH_SAN)
CRASH_CALLS  := malloc calloc realloc mmap ftruncate fallocate lseek pread fcntl read write writev recvmsg \
	sendmsg ioctl clock_gettime walls_close_control walls_close_processor walls_close_io
CRASH_OBJS   := $(patsubst %.c,$(CRASH_B)/%.o,$(foreach l,$(LIBS),$($l_SRC)))
CRASH_PROGS  := $(patsubst %.c,$(CRASH_B)/%,$(wildcard tests/crash/$(or $(T),*)_crash.c))

$(CRASH_B)/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CRASH_CFLAGS) -c -o $@ $<

$(CRASH_B)/liball.a: $(CRASH_OBJS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcsD $@ $^

# Disks (disk_crash.h): a hundred thousand states are too many for sanitizers, under which the formats' own units run.
# These are of the ordinary build.
CUT_PROGS := $(filter %/vhd_crash %/vhdx_crash,$(CRASH_PROGS))
$(CUT_PROGS): $(CRASH_B)/%: $B/%.o $(addprefix $B/lib,testdisk.a fhdisk.a fh.a)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson -l:liburing.a -lpthread

$(filter-out $(CUT_PROGS),$(CRASH_PROGS)): %: %.o $(CRASH_B)/liball.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CRASH_SAN) $(CRASH_CALLS:%=-Wl,--wrap=%) $($(@F)_LDFLAGS) -o $@ $^ -ljansson -l:liburing.a -lpthread

# Whatever changes a folder.
inventory_crash_LDFLAGS = $(addprefix -Wl$(,)--wrap=,fsync rename renameat2 mkdir unlink remove fchmod)

crash: $(CRASH_PROGS)
	@tests/crash/run.sh $(CRASH_B) "$(T)"
.PHONY: crash

-include $(shell find $(CRASH_B) -name '*.d' 2>/dev/null)
