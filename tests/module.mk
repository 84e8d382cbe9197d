# tests/: units here; lab, fuzz, crash and bench have their own module.mk.
TESTS := $(patsubst %.c,$B/%,$(wildcard tests/unit/*_test.c))

$(TESTS): %: %.o $B/libworker.a $B/libfh.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -ljansson -lpthread

# One unit: make check T=schema
check: $(if $(T),$B/tests/unit/$(T)_test,$(TESTS))
	@set -e; for t in $^; do $$t; done
.PHONY: check

include $(wildcard tests/*/module.mk)
