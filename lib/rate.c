/*
 * lib/rate.c - a token bucket in whole tokens; the fraction waits in `since`.
 */
#include "lib/rate.h"

bool
rate_take(struct rate *r, uint64_t now_ns)
{
	uint64_t step = UINT64_C(1000000000) / r->per_s;
	uint64_t due = (now_ns - r->since) / step;

	if (r->since == 0 || due >= r->burst - r->tokens) {
		r->tokens = r->burst;
		r->since = now_ns;
	} else {
		r->tokens += due;
		r->since += due * step;
	}
	if (r->tokens == 0)
		return false;
	r->tokens--;
	return true;
}
