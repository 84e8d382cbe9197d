# tests/: units here; lab, fuzz, crash and bench have their own module.mk.
TESTS := $(patsubst %.c,$B/%,$(wildcard tests/unit/*_test.c))

$(TESTS): %: %.o $B/libworker.a $B/libfh.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -ljansson -lpthread

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
lint: $(GEN) $(TIDY)
	clang-format --dry-run -Werror $(C_FILES)
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --error-exitcode=1 -j2 -D__x86_64__ -I. -I$B/gen \
		$(filter-out tests/%,$(filter %.c,$(C_FILES)))
	@echo "lint: $(words $(C_FILES)) passed, 0 failed"
$B/tidy/%: % .clang-tidy | $(GEN)
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- -std=c17 -D_GNU_SOURCE -I. -I$B/gen -I/usr/include/lua5.4 2>/dev/null
	@mkdir -p $(@D) && touch $@

.PHONY: check test lint
