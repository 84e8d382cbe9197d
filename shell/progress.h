/*
 * shell/progress.h - how far a job is, in one line of the terminal.
 */
#ifndef SHELL_PROGRESS_H
#define SHELL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/rpc_client.h"

struct progress {
	int64_t begun_ns, shown_ns;
	double rate; /* of done, a second, smoothed; 0: not known yet */
	uint64_t last_done;
	int64_t last_ns;
	char phase[32]; /* the rate begins anew with each */
	bool drawn;
};

/* Takes note of p at a time; call it with each report. */
void progress_note(struct progress *g, const struct rpc_progress *p, int64_t now_ns);
/* The line, at most `width` columns: "copy  [#####-----]  45%  1.2 GiB of 2.7 GiB  110 MiB/s  13s left". */
void progress_line(const struct progress *g, const struct rpc_progress *p, int64_t now_ns, size_t width,
    char *out, size_t size);

#endif
