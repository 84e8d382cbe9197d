/*
 * lib/rate.h - a token bucket: how often something may happen. The caller brings the lock and the
 * clock.
 */
#ifndef LIB_RATE_H
#define LIB_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t burst;  /* this many at once */
	uint64_t per_s;  /* and this many a second after that */
	uint64_t tokens; /* left now */
	uint64_t since;  /* ns: up to when tokens have been added */
};

/* Takes a token; false when there is none. now never goes back. The first call fills the bucket. */
bool rate_take(struct rate *r, uint64_t now_ns);

#endif
