/*
 * agent/tickets.h - one-time tickets for streams: 30 s, single use, bound to a user. Any thread.
 */
#ifndef AGENT_TICKETS_H
#define AGENT_TICKETS_H

#include <stdint.h>

#include "agent/identity.h"

enum { TICKETS_MAX = 64, TICKETS_OF_USER = 16, TICKET_MS = 30 * 1000 };

struct tickets;
struct tickets *tickets_new(void);
/* Closes what nobody came for. */
void tickets_free(struct tickets *t);
void tickets_set_clock(struct tickets *t, uint64_t (*now_ms)(void));
/* Takes fd in every case. The oldest ticket makes room; one's own when one has many. */
void tickets_add(struct tickets *t, const struct identity *who, int fd, char text[TICKET_SIZE]);
/*
 * The descriptor, which is the caller's, or -1 with *f. who is whoever shows it: the same user, or, if the
 * connection has no credentials (a browser cannot give any), somebody at the same address. A ticket that
 * is shown is gone, whatever comes of it.
 */
int tickets_take(struct tickets *t, const char *text, const struct identity *who, struct fault *f);
/* Closes those that have expired; milliseconds until the next one does, or -1. */
int tickets_expire(struct tickets *t);

#endif
