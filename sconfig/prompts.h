/*
 * sconfig/prompts.h - the menu as questions and answers, one line each: for dumb terminals, screen readers,
 * very small windows and scripts. The manner is OpenBSD's installer: the default is in brackets and
 * Enter takes it, ? explains, ! is the shell, and . goes back. The pages are those of the full screen.
 */
#ifndef SCONFIG_PROMPTS_H
#define SCONFIG_PROMPTS_H

#include <stdbool.h>
#include <stdio.h>

#include "sconfig/ui.h"

struct prompts {
	struct link *link;
	FILE *in, *out;
	const struct ui_terminal *terminal; /* may be NULL */
	/* Asked before the main menu: true ends the prompts, since the full screen fits now. May be NULL. */
	bool (*fits)(void *ctx);
	void *ctx;
};

enum prompts_end { PROMPTS_LOG_OFF, PROMPTS_FITS, PROMPTS_EOF };

/* Runs until the user logs off, the input ends or the full screen fits. */
enum prompts_end prompts_run(struct prompts *p);

#endif
