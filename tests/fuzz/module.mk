# tests/fuzz/: make fuzz [T=name] [S=seconds]. A target is NAME_fuzz.c, a row in targets.txt, a few
# files in corpus/NAME/ and, if it helps, NAME.dict. Everything is built again with clang, instrumented.
FUZZ_B      := build-fuzz
FUZZ_SAN    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_CFLAGS  = -std=c17 -D_GNU_SOURCE -I. -I$B/gen -MMD -MP $(WARN) $(CPPFLAGS) -O1 -g $(FUZZ_SAN) \
	-fsanitize=fuzzer-no-link
# Of the library only what a target calls is linked, so its coverage is that of its own room.
FUZZ_OBJS   := $(patsubst %.c,$(FUZZ_B)/%.o,$(foreach l,$(LIBS),$($l_SRC)))
FUZZ_PROGS  := $(patsubst %.c,$(FUZZ_B)/%,$(wildcard tests/fuzz/$(or $(T),*)_fuzz.c))

$(FUZZ_B)/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)clang $(FUZZ_CFLAGS) -c -o $@ $<

$(FUZZ_B)/liball.a: $(FUZZ_OBJS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcsD $@ $^

$(FUZZ_PROGS): %: %.o $(FUZZ_B)/tests/fuzz/no_profile.o $(FUZZ_B)/liball.a
	$(call say,LD,$@)
	$(Q)clang $(FUZZ_SAN) -fsanitize=fuzzer -Wl,--wrap=__sanitizer_print_memory_profile -o $@ $^ \
		$($(@F)_LDFLAGS) -ljansson -l:liburing.a -lpthread

# Those on a fake KVM (tests/unit/fake_kvm.h), and where walls would close around the target itself.
saved_fuzz_LDFLAGS  := $(FAKE_KVM)
worker_fuzz_LDFLAGS := $(FAKE_KVM) $(NO_WALLS)

fuzz: $(FUZZ_PROGS)
	tests/fuzz/run.sh $(FUZZ_B) "$(T)" "$(S)"
.PHONY: fuzz

-include $(shell find $(FUZZ_B) -name '*.d' 2>/dev/null)
