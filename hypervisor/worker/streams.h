/*
 * hypervisor/worker/streams.h - streams between the machine's guest and its controller (vsp/sock.h), for
 * machines whose document asks for them: one of the worker's small devices (services.h).
 *
 * What happens is told by "socket" events; what a guest can cause without end, 32 times a second, and what it
 * asks for beyond that is refused.
 */
#ifndef HYPERVISOR_WORKER_STREAMS_H
#define HYPERVISOR_WORKER_STREAMS_H

#include "hypervisor/vsp/sock.h"
#include "hypervisor/worker/services.h"
#include "lib/control.h"

extern const struct service stream_service;

/* --- requests (worker/requests.c has the rows) --- */

struct socket_params {
	uint64_t id, port;
	uint8_t service[16];
	int file;
};
struct socket_id {
	uint64_t id;
};
struct socket_report {
	uint64_t id;
	uint8_t service[16];
	bool from_guest, open;
	uint64_t sent, received;
};
struct socket_list {
	size_t n;
	struct socket_report stream[SOCK_STREAMS];
};

extern const struct field stream_service_fields[], stream_id_fields[], stream_accept_fields[],
    stream_connect_fields[], stream_new_fields[], stream_list_fields[];

void stream_defaults(void *params);
int do_stream_listen(void *ctx, void *params, void *result, struct err *e);
int do_stream_unlisten(void *ctx, void *params, void *result, struct err *e);
int do_stream_accept(void *ctx, void *params, void *result, struct err *e);
int do_stream_refuse(void *ctx, void *params, void *result, struct err *e);
int do_stream_connect(void *ctx, void *params, void *result, struct err *e);
int do_stream_close(void *ctx, void *params, void *result, struct err *e);
int do_stream_list(void *ctx, void *params, void *result, struct err *e);

#endif
