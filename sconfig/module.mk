# sconfig/: the menu. libsconfig.a is all of it that needs neither terminal nor agent.
sconfig_MAIN := sconfig/main.c sconfig/term.c sconfig/term_curses.c sconfig/console.c sconfig/link_rpc.c
LIBS         += sconfig
sconfig_SRC  := $(filter-out $(sconfig_MAIN),$(wildcard sconfig/*.c))
PROGS        += sconfig
# Of the shell only what puts a terminal right after a console.
sconfig_LIBS   := sconfig shell rpc fh
sconfig_LDLIBS := -lncursesw -ltinfo -lwebsockets -lssl -lcrypto -ljansson -lpthread

# Descriptions of the usual terminals, for systems that have none: each as text that ncurses reads from TERMINFO.
TERMINALS := vt100 vt102 vt220 linux xterm xterm-256color screen screen-256color tmux tmux-256color ansi
GEN += $B/gen/terminals.h
$B/gen/terminals.h: sconfig/module.mk
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)for t in $(TERMINALS); do \
		text=$$(infocmp -0 -q -Q2 $$t) && echo "{ \"$$t\", \"$$text\" }," || exit 1; \
	done >$@

# Tests: two run the program on a pseudo-terminal, one of them against the real agent; one compares the pages
# with the agent's tables.
$B/tests/unit/sconfig_term_test: | $B/bin/sconfig
$B/tests/unit/sconfig_agent_test: | $B/bin/sconfig $B/bin/fh-agent
sconfig_term_test_LDLIBS    := -lutil
sconfig_agent_test_LDLIBS   := -lutil
sconfig_methods_test_LDLIBS  = $(AGENT_LDLIBS)
