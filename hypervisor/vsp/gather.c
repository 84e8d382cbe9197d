/* hypervisor/vsp/gather.c - whether a reader of a guest's ring should first let the guest go on writing. */
#include "hypervisor/vsp/gather.h"

bool
gather_try(struct gather *g)
{
	if (!g->left)
		return true;
	g->left--;
	return false;
}

void
gather_told(struct gather *g, unsigned found, uint64_t ns)
{
	if (found > 1 && ns <= GATHER_NS_MAX) {
		g->pause = 0;
		return;
	}
	g->pause = g->pause ? g->pause * 2 : GATHER_PAUSE;
	if (g->pause > GATHER_PAUSE_MAX)
		g->pause = GATHER_PAUSE_MAX;
	g->left = g->pause;
}
