/*
 * agent/agent.h - the agent as its rooms see it: where its files are and who does what.
 *
 * There is one struct agent; it is passed around, never global, so that a test can have two. The members
 * are set once, by agent_start, before any call is served, and are only read after that. What they point
 * to has its own locks.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

/* Where things are; absolute, without a slash at the end. Tests use a temporary tree. */
struct agent_options {
	const char *data;      /* /data: machines, images, system, log */
	const char *run;       /* /run/freehold: sockets */
	const char *etc;       /* /etc: passwd, shadow, group */
	uint16_t port;         /* of the network carriers; 0: the kernel picks one */
	bool remote;           /* open the port at start, whatever the host's settings say */
	const char *disk_tool; /* the program fh-disk; NULL: the one beside our own */
	unsigned ring;         /* events kept for replay; 0: 4096 */
	unsigned job_keep;     /* finished jobs kept; 0: 200 */
};

struct agent {
	struct agent_options o;
	struct audit *audit;
	struct events *events;
	struct jobs *jobs;
	struct requests *requests;
	struct tickets *tickets;
	struct watch *watch; /* NULL in some tests: nobody looks */
	struct users *users;
	struct tokens *tokens; /* API tokens and sessions */
	struct login *login;
	struct pool *pool;
	struct carriers *carriers;
	struct caretaker *caretaker;
	struct machines *machines; /* agent_vm_start sets it */
	struct uploads *uploads;
	struct host_state *host; /* agent_host_start sets it */
	/*
	 * What a machine is called in scopes and events: its GUID. Set by agent_vm_start; any thread. Returns
	 * false when there is no such machine.
	 */
	bool (*vm_guid)(struct agent *a, const char *name_or_guid, char guid[37]);
	bool has_vm, has_host; /* they were started, and have to be stopped */
};

/* Starts everything; returns 0 or -errno with *e, and nothing is left running. */
int agent_start(struct agent **out, const struct agent_options *o, struct err *e);
/* Ends calls and jobs in order; workers go on. a may be NULL. */
void agent_stop(struct agent *a);

/*
 * The rooms. Each starts after the core stands (events, jobs, audit can be used) and before a carrier
 * opens; stop is called when no call and no job runs any more.
 */
int agent_host_start(struct agent *a, struct err *e);
void agent_host_stop(struct agent *a);
/* The agent is about to end. If the host ends, too (RUN/going-down is there), ends all machines before that:
 * two minutes at most. Calls are served meanwhile. */
void agent_host_goes_down(struct agent *a);
int agent_vm_start(struct agent *a, struct err *e);
void agent_vm_stop(struct agent *a);

/*
 * Tells every client that has subscribed, and keeps the event for replay. Takes the reference of data (an
 * object, or NULL). Events named vm.* have the machine's GUID as data.id: only who may see the machine
 * hears them; all others need Viewer at "/". Any thread; never blocks for a client.
 */
void event_publish(struct agent *a, const char *type, json_t *data);

/*
 * A stream: whoever shows the ticket within 30 s, as the same user, gets the other end of fd (a
 * connected stream socket or pty), bytes both ways. Ticket and stream end when the caller loses the role that
 * c needed where c touched something. Takes fd in every case. Returns 0 or -errno.
 */
struct call;
enum { TICKET_SIZE = 44 }; /* 43 characters of base64url and a NUL */
int ticket_new(const struct call *c, int fd, char ticket[TICKET_SIZE], struct err *e);

/* Somebody may have lost rights: what was held by them is cut before this returns. Any thread, no lock held.
 */
void agent_rights_changed(struct agent *a);
/* There is somebody or something new that can lose rights. Any thread. */
void agent_rights_given(struct agent *a);

/*
 * Opens (true) or closes the network carriers; connections are ended when it closes. Idempotent; any
 * thread but a carrier's; returns when it is done. 0, or -errno with *e when the port cannot be bound.
 */
int carriers_remote(struct agent *a, bool on, struct err *e);
bool carriers_remote_is_on(struct agent *a);
/* The port in use, 0 while closed. */
uint16_t carriers_port(struct agent *a);
/* SHA-256 of the certificate as "ab:cd:...", 95 characters; "" when there is none. Borrowed for ever. */
const char *carriers_fingerprint(struct agent *a);

#endif
