/*
 * agent/tickets.h - one-time tickets for streams: 30 s, single use, bound to a user and to the rights that
 * the stream takes. Any thread.
 */
#ifndef AGENT_TICKETS_H
#define AGENT_TICKETS_H

#include <stdint.h>

#include "agent/identity.h"

enum { TICKETS_MAX = 64, TICKETS_OF_USER = 16, TICKET_MS = 30 * 1000 };

/* What has to be so for as long as the stream is there: who has at least role at path. */
struct stream_rights {
	struct identity who;
	enum role role;
	char path[SCOPE_SIZE];
};

struct tickets;
struct tickets *tickets_new(void);
/* Closes what nobody came for. */
void tickets_free(struct tickets *t);
void tickets_set_clock(struct tickets *t, uint64_t (*now_ms)(void));
/* Takes fd in every case. The oldest ticket makes room; one's own when one has many. */
void tickets_add(struct tickets *t, const struct stream_rights *r, int fd, char text[TICKET_SIZE]);
/*
 * The descriptor, which is the caller's, or -1 with *f. who is whoever shows it: the same user, or, if the
 * connection has no credentials (a browser cannot give any), somebody at the same address. A ticket that
 * is shown is gone, whatever comes of it. *r: the rights it was made with, which may have gone since.
 */
int tickets_take(struct tickets *t, const char *text, const struct identity *who, struct stream_rights *r,
    struct fault *f);
/* Closes those whose rights have gone; whether any are left. may is asked under the lock. */
bool tickets_look(struct tickets *t, bool (*may)(void *arg, struct stream_rights *r), void *arg);
/* Closes those that have expired; milliseconds until the next one does, or -1. */
int tickets_expire(struct tickets *t);

#endif
