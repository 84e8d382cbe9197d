# tests/: units here; lab, fuzz, crash and bench have their own module.mk.
# What units, fuzz targets and the power-cut harness of disks share: files in memory.
LIBS += testdisk
testdisk_SRC := $(wildcard tests/disk/*.c)

TESTS := $(patsubst %.c,$B/%,$(wildcard tests/unit/*_test.c))

# What a test needs of other libraries it names: NAME_test_LDLIBS.
$(TESTS): %: %.o $(LIBS:%=$B/lib%.a)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $($(@F)_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$($(@F)_LDLIBS) -lcmocka -ljansson -l:liburing.a -lpthread

# What a unit is cut off from: NAME_test_LDFLAGS. The kernel's KVM, for those with a fake one (fake_kvm.h);
# walls that would close around the test itself; calls that are to fail.
FAKE_KVM := -Wl,--wrap=ioctl
NO_WALLS := -Wl,--wrap=walls_close_control,--wrap=walls_close_processor,--wrap=walls_close_io
gmem_test_LDFLAGS      := -Wl,--wrap=fallocate
cpuid_test_LDFLAGS     := $(FAKE_KVM)
partition_test_LDFLAGS := $(FAKE_KVM)
synic_test_LDFLAGS     := $(FAKE_KVM)
vcpu_state_test_LDFLAGS := $(FAKE_KVM)
save_test_LDFLAGS      := $(FAKE_KVM),--wrap=clock_gettime
life_test_LDFLAGS      := $(FAKE_KVM) $(NO_WALLS)
requests_test_LDFLAGS  := $(FAKE_KVM) $(NO_WALLS)
worker_disks_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS),--wrap=disk_close
worker_live_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
worker_ic_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
worker_nics_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
worker_io_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
worker_memory_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
worker_services_test_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)
stream_test_LDFLAGS    := -Wl,--wrap=writev,--wrap=read
console_test_LDFLAGS   := -Wl,--wrap=write
$B/tests/unit/main_test: | $B/bin/fh-worker

# One unit: make check T=schema
UNITS = $(if $(T),$B/tests/unit/$(T)_test,$(TESTS))
check: $(UNITS)
	@tests/unit/run.sh $(UNITS)

# Everything, as continuous integration does. Some parts: make test P="units lab"
test: deps
	@tests/run.sh $(P)

include $(wildcard tests/*/module.mk)

# Every file that is ours, in the layout of .clang-format; what clang-tidy and cppcheck find is an error.
C_FILES  = $(shell git ls-files '*.c' '*.h')
TIDY     = $(addprefix $B/tidy/,$(filter-out tests/%,$(filter %.c,$(C_FILES))))
lint: $(GEN) $(TIDY) names
	clang-format --dry-run -Werror $(C_FILES)
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --error-exitcode=1 -j2 -D__x86_64__ -I. -I$B/gen \
		$(filter-out tests/%,$(filter %.c,$(C_FILES)))
	@echo "lint: $(words $(C_FILES)) passed, 0 failed"
# No two functions or variables of ours share a name, whichever programs they are in: fuzz targets and the
# harnesses link them all.
NAMED_OBJS = $(foreach l,$(LIBS),$(patsubst %.c,$B/%.o,$($l_SRC)))
names: $(NAMED_OBJS)
	@nm -g --defined-only $^ | awk 'NF == 3 && $$2 ~ /[TDBR]/ && seen[$$3]++ { print $$3 ": defined twice"; bad = 1 } \
		END { exit bad }'
$B/tidy/%: % .clang-tidy | $(GEN)
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- -std=c17 -D_GNU_SOURCE -I. -I$B/gen -I/usr/include/lua5.4 -I/usr/include/libnl3 2>/dev/null
	@mkdir -p $(@D) && touch $@

.PHONY: check test lint names
