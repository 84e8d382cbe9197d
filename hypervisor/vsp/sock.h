/*
 * hypervisor/vsp/sock.h - hv_sock: byte streams between the guest and whoever controls the machine. Each is a
 * channel of the bus; its end here is a connected stream socket that comes from outside.
 *
 * A service is a GUID; Linux's ports are those of sock_port_service. The guest asks for a service: what
 * nobody listens to is refused at once, else the request is told (events.requested) and answered with a
 * socket by sockets_accept, or refused, at the latest after SOCK_WAIT_MS, for guests give up after 2 s. The
 * other way, sockets_connect offers a stream to the guest; one that the guest does not open in SOCK_OPEN_MS
 * has ended: nobody listens there.
 *
 * Bytes are taken from the guest no faster than the socket takes them, and the other way round: each stream
 * has two buffers of its own, and the ring is the queue. The end of one direction is passed on (shutdown);
 * the stream ends when both directions have, when the guest closes it, or when either side fails; then its
 * socket is closed and the guest told. Nothing is saved: after a restore the guest finds all streams ended.
 *
 * Threads. The functions here are the control thread's; bytes run on the loop.
 */
#ifndef HYPERVISOR_VSP_SOCK_H
#define HYPERVISOR_VSP_SOCK_H

#include "hypervisor/core/io_loop.h"
#include "hypervisor/vmbus/bus.h"

enum {
	SOCK_STREAMS = 128, /* at a time */
	SOCK_SERVICES = 64, /* listened to */
	SOCK_REQUESTS = 32, /* of the guest that wait for an answer; more are refused at once */
	SOCK_WAIT_MS = 1500,
	SOCK_OPEN_MS = 5000,
};

enum sock_end {
	SOCK_CLOSED,    /* both directions came to their end, or the guest closed it */
	SOCK_NOT_TAKEN, /* the guest did not open it */
	SOCK_FAILED,    /* the socket, or what the guest sent, made no sense */
	SOCK_SHUT,      /* sockets_close, or the machine was reset */
	SOCK_ENDS
};

/* What is told: on the control thread (within vmbus_work and sockets_work), but for `work`. */
struct sock_events {
	void *ctx;
	/* Something is to be done on the control thread: it should call sockets_work soon. I/O thread. */
	void (*work)(void *ctx);
	/* The guest asks for a service that is listened to. */
	void (*requested)(void *ctx, uint32_t id, const uint8_t service[16]);
	/* It was not answered in time, or the guest is gone: id means nothing any more. */
	void (*withdrawn)(void *ctx, uint32_t id);
	void (*ended)(void *ctx, uint32_t id, enum sock_end why);
};

struct sockets;

/* The bus asks this from now on. loop: started or not. */
int sockets_new(struct sockets **out, struct vmbus *bus, struct io_loop *loop,
    const struct sock_events *events, struct err *e);
/* The loop does not run any more. Streams that are still there leave the bus without a word. */
void sockets_free(struct sockets *s);

/* -EEXIST, -ENOSPC; -ENOENT. */
int sockets_listen(struct sockets *s, const uint8_t service[16], struct err *e);
int sockets_unlisten(struct sockets *s, const uint8_t service[16], struct err *e);

/* Answers a request (-ENOENT: there is none, or no more); offers a service of the guest a stream. fd: a
 * connected stream socket, taken over on success. *id: of the stream; a request's stream has its id. */
int sockets_accept(struct sockets *s, uint32_t id, int fd, struct err *e);
int sockets_refuse(struct sockets *s, uint32_t id, struct err *e);
int sockets_connect(struct sockets *s, const uint8_t service[16], int fd, uint32_t *id, struct err *e);
/* Ends a stream: "ended" follows. -ENOENT. */
int sockets_close(struct sockets *s, uint32_t id, struct err *e);

struct sock_report {
	uint32_t id;
	uint8_t service[16];
	bool from_guest, open;
	uint64_t sent, received; /* bytes, to and from the guest */
};
/* The streams there are: their number, at most cap of them in r. */
size_t sockets_report(struct sockets *s, struct sock_report *r, size_t cap);

/* The guest is gone (reset): nothing of it waits. The bus closes the streams. */
void sockets_reset(struct sockets *s);
/* The machine stands still: while held, no byte is moved to or from the guest's memory. */
void sockets_hold(struct sockets *s, bool hold);
/* After events.work. */
void sockets_work(struct sockets *s);

/* Port n of AF_VSOCK: "nnnnnnnn-facb-11e6-bd58-64006a7986d3". */
void sock_port_service(uint32_t port, uint8_t service[16]);

#endif
