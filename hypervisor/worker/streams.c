/* hypervisor/worker/streams.c - a machine's streams: their requests and events. */
#include "hypervisor/worker/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/file.h"
#include "hypervisor/worker/worker.h"
#include "lib/guid.h"
#include "lib/rate.h"

#define NO_PORT UINT64_MAX

struct streams {
	struct io_loop *loop;
	struct sockets *sockets;
	struct rate rate; /* of what the guest asks for */
};

/* --- events ------------------------------------------------------------------------------------------- */

static void
tell(struct worker *w, const char *what, uint32_t id, const uint8_t *service)
{
	json_t *doc = json_pack("{s:s, s:I}", "What", what, "Id", (json_int_t)id);
	char text[GUID_TEXT + 1];

	if (service) {
		guid_format(service, text);
		json_object_set_new(doc, "Service", json_string(text));
	}
	control_event(w->control, "socket", doc);
}

/* A guest that asks all the time is not listened to. */
static void
on_requested(void *ctx, uint32_t id, const uint8_t service[16])
{
	struct worker *w = ctx;
	struct streams *s = w->streams;

	s->rate.burst = SOCK_REQUESTS;
	s->rate.per_s = SOCK_REQUESTS;
	if (rate_take(&s->rate, io_loop_now(s->loop)))
		tell(w, "Requested", id, service);
	else
		sockets_refuse(s->sockets, id, NULL);
}

static void
on_withdrawn(void *ctx, uint32_t id)
{
	tell(ctx, "Withdrawn", id, NULL);
}

static void
on_ended(void *ctx, uint32_t id, enum sock_end why)
{
	static const char *const what[SOCK_ENDS] = {
		[SOCK_CLOSED] = "Closed",
		[SOCK_NOT_TAKEN] = "NotTaken",
		[SOCK_FAILED] = "Failed",
		[SOCK_SHUT] = "Shut",
	};

	tell(ctx, what[why], id, NULL);
}

/* --- the device --------------------------------------------------------------------------------------- */

static bool
wanted(const struct machine *m)
{
	return m->sockets;
}

static int
make(struct worker *w, struct io_loop *loop, struct err *e)
{
	const struct sock_events events = { w, services_wake, on_requested, on_withdrawn, on_ended };
	int rc;

	w->streams = calloc(1, sizeof(*w->streams));
	if (!w->streams)
		return err_set(e, ENOMEM, "streams: out of memory");
	w->streams->loop = loop;
	rc = sockets_new(&w->streams->sockets, w->p->vmbus, loop, &events, e);
	return rc < 0 ? err_wrap(e, rc, "streams") : 0;
}

static void
work(struct worker *w)
{
	sockets_work(w->streams->sockets);
}

static void
hold(struct worker *w, bool on)
{
	sockets_hold(w->streams->sockets, on);
}

static void
reset(struct worker *w)
{
	sockets_reset(w->streams->sockets);
}

static void
leave(struct worker *w)
{
	if (!w->streams || !w->streams->sockets)
		return;
	vmbus_set_streams(w->p->vmbus, NULL);
	sockets_reset(w->streams->sockets);
}

static void
free_it(struct worker *w)
{
	if (!w->streams)
		return;
	sockets_free(w->streams->sockets);
	free(w->streams);
	w->streams = NULL;
}

const struct service stream_service = { .wanted = wanted,
	.make = make,
	.work = work,
	.hold = hold,
	.reset = reset,
	.leave = leave,
	.free = free_it };

/* --- requests ----------------------------------------------------------------------------------------- */

/* clang-format off */
#define ID { .name = "Id", .type = FIELD_UINT, .required = true, FIELD_AT(socket_params, id), .max = UINT32_MAX, \
	.help = "Of the stream, as the event or answer had it." }
#define SERVICE \
	{ .name = "Service", .type = FIELD_GUID, FIELD_AT(socket_params, service), .help = "The service." }, \
	{ .name = "Port", .type = FIELD_UINT, FIELD_AT(socket_params, port), .max = UINT32_MAX, \
	  .help = "Instead: the port of AF_VSOCK that the service is." }
#define FILE_FIELD(text) { .name = "File", .type = FIELD_FD, .required = true, FIELD_AT(socket_params, file), .help = text }

const struct field stream_service_fields[] = { SERVICE, { 0 } };
const struct field stream_id_fields[] = { ID, { 0 } };
const struct field stream_accept_fields[] = { ID, FILE_FIELD("A connected stream socket: the host's end."), { 0 } };
const struct field stream_connect_fields[] = { SERVICE, FILE_FIELD("A connected stream socket: the host's end."), { 0 } };
const struct field stream_new_fields[] = {
	{ .name = "Id", .type = FIELD_UINT, FIELD_AT(socket_id, id), .max = UINT32_MAX, .help = "Of the stream." },
	{ 0 }
};
static const struct field report_fields[] = {
	{ .name = "Id", .type = FIELD_UINT, FIELD_AT(socket_report, id), .max = UINT32_MAX, .help = "Of the stream." },
	{ .name = "Service", .type = FIELD_GUID, FIELD_AT(socket_report, service), .help = "What it goes to." },
	{ .name = "FromGuest", .type = FIELD_BOOL, FIELD_AT(socket_report, from_guest), .help = "The guest asked for it." },
	{ .name = "Open", .type = FIELD_BOOL, FIELD_AT(socket_report, open), .help = "The guest has taken it." },
	{ .name = "BytesSent", .type = FIELD_UINT, FIELD_AT(socket_report, sent), .max = UINT64_MAX, .help = "Bytes to the guest." },
	{ .name = "BytesReceived", .type = FIELD_UINT, FIELD_AT(socket_report, received), .max = UINT64_MAX, .help = "Bytes from the guest." },
	{ 0 }
};
const struct field stream_list_fields[] = {
	{ .name = "Streams", .type = FIELD_LIST, FIELD_AT(socket_list, stream), .max = SOCK_STREAMS, .size = sizeof(struct socket_report),
	  .count_offset = offsetof(struct socket_list, n), .fields = report_fields, .help = "Streams there are." },
	{ 0 }
};
/* clang-format on */

void
stream_defaults(void *params)
{
	struct socket_params *p = params;

	p->file = -1;
	p->port = NO_PORT;
}

static int
find_streams(struct worker *w, struct streams **s, struct err *e)
{
	*s = w->streams;
	if (!*s)
		return err_set(e, w->p ? ENOTSUP : EINVAL,
		    w->p ? "the machine has no streams: Devices.Sockets is not on in its document"
			 : "there is no machine yet");
	return 0;
}

/* The service by its name, or by a port. */
static int
find_service(struct socket_params *p, struct err *e)
{
	static const uint8_t none[16];
	bool named = memcmp(p->service, none, sizeof(none)) != 0;

	if (named == (p->port != NO_PORT))
		return err_set(e, EINVAL, "one of Service and Port is needed");
	if (!named)
		sock_port_service((uint32_t)p->port, p->service);
	return 0;
}

/* An operation on it waits in the kernel until it can do something. */
static int
check_socket(int fd, struct err *e)
{
	struct stat st;
	int flags;

	if (file_fstat(fd, &st) < 0)
		return err_sys(e, "File");
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EINVAL, "File: it is no socket");
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return err_sys(e, "File");
	return 0;
}

int
do_stream_listen(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)result;
	rc = rc < 0 ? rc : find_service(p, e);
	return rc < 0 ? rc : sockets_listen(s->sockets, p->service, e);
}

int
do_stream_unlisten(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)result;
	rc = rc < 0 ? rc : find_service(p, e);
	return rc < 0 ? rc : sockets_unlisten(s->sockets, p->service, e);
}

int
do_stream_accept(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)result;
	rc = rc < 0 ? rc : check_socket(p->file, e);
	rc = rc < 0 ? rc : sockets_accept(s->sockets, (uint32_t)p->id, p->file, e);
	if (rc < 0)
		close(p->file);
	return rc;
}

int
do_stream_refuse(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)result;
	return rc < 0 ? rc : sockets_refuse(s->sockets, (uint32_t)p->id, e);
}

int
do_stream_connect(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct socket_id *r = result;
	struct streams *s;
	uint32_t id = 0;
	int rc = find_streams(ctx, &s, e);

	rc = rc < 0 ? rc : find_service(p, e);
	rc = rc < 0 ? rc : check_socket(p->file, e);
	rc = rc < 0 ? rc : sockets_connect(s->sockets, p->service, p->file, &id, e);
	if (rc < 0)
		close(p->file);
	r->id = id;
	return rc;
}

int
do_stream_close(void *ctx, void *params, void *result, struct err *e)
{
	struct socket_params *p = params;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)result;
	return rc < 0 ? rc : sockets_close(s->sockets, (uint32_t)p->id, e);
}

int
do_stream_list(void *ctx, void *params, void *result, struct err *e)
{
	struct sock_report r[SOCK_STREAMS];
	struct socket_list *list = result;
	struct streams *s;
	int rc = find_streams(ctx, &s, e);

	(void)params;
	if (rc < 0)
		return rc;
	list->n = sockets_report(s->sockets, r, SOCK_STREAMS);
	for (size_t i = 0; i < list->n; i++) {
		list->stream[i] = (struct socket_report){ .id = r[i].id,
			.from_guest = r[i].from_guest,
			.open = r[i].open,
			.sent = r[i].sent,
			.received = r[i].received };
		memcpy(list->stream[i].service, r[i].service, 16);
	}
	return 0;
}
