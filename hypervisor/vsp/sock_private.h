/*
 * hypervisor/vsp/sock_private.h - the inside of streams: sock.c (services, requests, streams that come and
 * go; control thread), sock_stream.c (bytes; I/O thread).
 */
#ifndef HYPERVISOR_VSP_SOCK_PRIVATE_H
#define HYPERVISOR_VSP_SOCK_PRIVATE_H

#include <stdatomic.h>

#include "hypervisor/vsp/sock.h"

enum {
	SOCK_PIECE = 16384,             /* payload of a packet, at most: what Linux takes and sends */
	SOCK_BUFFER = SOCK_PIECE + 512, /* with its heads */
};

/* One direction: bytes that have been taken from one side, and are on their way to the other. */
struct sock_half {
	struct io_op op; /* on the socket */
	struct iovec iov;
	bool busy;  /* the operation is in flight */
	bool ended; /* no more will come from where they come from */
	bool told;  /* and the other side knows */
	uint32_t at, len;
	uint8_t buf[SOCK_BUFFER];
};

struct sock_stream {
	struct vmbus_device dev; /* first */
	struct sockets *s;
	struct sock_stream *next;
	uint32_t id;
	bool from_guest;
	char name[48];
	int fd;
	uint64_t deadline; /* ns: the guest is to have opened it; 0: it has */
	bool revoked;
	enum sock_end why;

	struct vmbus_channel *ch; /* while open */
	int slot;                 /* of fd, while open */
	/* I/O, while open */
	struct io_watch kick;
	struct io_timer look; /* whether the guest has taken the last bytes */
	struct sock_half to_socket, to_guest;
	bool closing; /* nothing is begun any more */
	/* News for the control thread. */
	atomic_bool over; /* to be revoked */
	atomic_bool failed;
	atomic_bool shut; /* the socket's writing side is to be ended */
	atomic_bool gone; /* nothing is in flight, nor will be */
	atomic_uint_fast64_t sent, received;
};

struct sock_request {
	uint32_t id; /* 0: free */
	uint8_t endpoint[16], service[16];
	uint64_t deadline; /* ns */
};

struct sockets {
	struct vmbus *bus;
	struct io_loop *loop;
	struct sock_events events;
	uint8_t service[SOCK_SERVICES][16];
	unsigned services, streams_n;
	struct sock_request request[SOCK_REQUESTS];
	struct sock_stream *streams;
	struct io_timer alarm; /* of requests, and of streams that are not opened */
	uint32_t last_id;
	/* I/O */
	atomic_bool asked; /* the control thread has been asked to look */
	bool held;
};

/* sock.c */
void sockets_ask(struct sockets *s); /* I/O thread */

/* sock_stream.c: I/O thread, by io_loop_call */
void sock_stream_begin(void *stream);
void sock_stream_close(void *stream);
void sock_stream_pump(struct sock_stream *st);

#endif
