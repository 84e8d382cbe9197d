/*
 * agent/watch.h - those who hold on to something that takes rights (a connection, a stream) and may lose them
 * while nobody calls: each is looked at again when something has changed, and now and then, since files are
 * edited by hand and tokens end with their time. Any thread.
 */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

#include <stdbool.h>

/* Embedded in whoever is watched. */
struct watched {
	struct watched *next, **at; /* at NULL: is not watched */
	/*
	 * Acts when the rights have gone; whether there are any left to lose. Under the lock of the watch:
	 * must not block or call watch_*.
	 */
	bool (*look)(struct watched *w);
};

struct watch;
/* NULL when memory is out. */
struct watch *watch_new(void);
/* Nobody is watched any more. w may be NULL. */
void watch_free(struct watch *w);
/* w may be NULL: then nobody looks. */
void watch_add(struct watch *w, struct watched *one);
/* It is not looked at after this returns. Idempotent. */
void watch_drop(struct watch *w, struct watched *one);
/* Looks at all; whether there is anything left to lose. */
bool watch_look(struct watch *w);

#endif
