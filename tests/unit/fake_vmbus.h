/*
 * tests/unit/fake_vmbus.h - the partition around a bus, and the guest in it, for tests and fuzz targets.
 *
 * The partition is guest memory, one message slot and 2048 event flags a processor, and a list of bound
 * eventfds. The guest says what a guest's driver would: fake_connect, fake_offers, fake_gpadl, fake_open,
 * fake_send, fake_recv. It takes its messages in order; what it is not asked for stays in fake_vmbus.heard.
 * Nothing here judges: functions return what came, and the test says what should have.
 *
 * The guest runs on the thread that plays the control thread. Event flags may be set by any.
 */
#ifndef TESTS_UNIT_FAKE_VMBUS_H
#define TESTS_UNIT_FAKE_VMBUS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hypervisor/vmbus/bus.h"
#include "hypervisor/vmbus/wire.h"

enum {
	FAKE_VPS = 8,        /* at most */
	FAKE_BINDINGS = 256, /* eventfds bound at a time */
	FAKE_HEARD = 8192,   /* messages that wait for the guest to look at them */
	FAKE_OFFERS = 2047,
	FAKE_FIRST_PAGE = 16, /* pages below are the test's: 1 is a good interrupt page */
	FAKE_HEADER_PFNS = 26,
	FAKE_BODY_PFNS = 28,
};

struct fake_message {
	size_t len; /* 0: none */
	unsigned vp;
	union {
		uint8_t bytes[SYNIC_MESSAGE_MAX];
		struct wire_head head;
		struct wire_offer offer;
		struct wire_relid relid;
		struct wire_open_result opened;
		struct wire_gpadl_created created;
		struct wire_gpadl_torndown torndown;
		struct wire_version_response version;
		struct wire_tl_result tl;
		struct wire_modify_result modified;
	};
};

struct fake_vmbus {
	struct vmbus_host host;
	struct gmem *mem;
	struct vmbus *bus;

	struct fake_message slot[FAKE_VPS]; /* the SynIC's */
	bool deaf[FAKE_VPS];                /* SynIC off: post answers -ENOTCONN */
	_Atomic uint64_t flag[FAKE_VPS][2048 / 64];
	atomic_uint signals; /* calls of signal() */
	unsigned retry_ms;   /* 0: nobody waits for a retry */
	unsigned posts;      /* calls of post() */
	struct {
		uint32_t conn; /* 0: free */
		int fd;
	} bound[FAKE_BINDINGS];
	int bind_error; /* what the next bind fails with */

	/* the guest */
	uint32_t version;    /* agreed on */
	uint32_t connection; /* where it posts its messages */
	uint64_t next_page;
	uint32_t next_gpadl;
	struct fake_message *heard; /* taken from the slots, in order */
	size_t first, last;
};

static inline int
fake_vmbus_post(void *ctx, unsigned vp, uint32_t type, const void *payload, size_t len)
{
	struct fake_vmbus *f = ctx;

	f->posts++;
	if (vp >= f->host.vps || type != MESSAGE_TYPE_VMBUS || len == 0 || len > SYNIC_MESSAGE_MAX)
		abort();
	if (f->deaf[vp])
		return -ENOTCONN;
	if (f->slot[vp].len != 0)
		return -EAGAIN;
	f->slot[vp].len = len;
	f->slot[vp].vp = vp;
	memcpy(f->slot[vp].bytes, payload, len);
	return 0;
}

static inline int
fake_vmbus_bind(void *ctx, uint32_t conn, int fd, struct err *e)
{
	struct fake_vmbus *f = ctx;
	size_t at = FAKE_BINDINGS;

	if (conn == 0 || conn > 0xffffff || fd < 0)
		abort();
	if (f->bind_error != 0)
		return err_set(e, f->bind_error, "connection %#x: refused by the test", conn);
	for (size_t i = FAKE_BINDINGS; i-- > 0;) {
		if (f->bound[i].conn == conn)
			return err_set(e, EEXIST, "connection %#x: bound already", conn);
		if (f->bound[i].conn == 0)
			at = i;
	}
	if (at == FAKE_BINDINGS)
		return err_set(e, ENOSPC, "connection %#x: the fake has no more", conn);
	f->bound[at].conn = conn;
	f->bound[at].fd = fd;
	return 0;
}

static inline void
fake_vmbus_unbind(void *ctx, uint32_t conn)
{
	struct fake_vmbus *f = ctx;

	for (size_t i = 0; i < FAKE_BINDINGS; i++)
		if (f->bound[i].conn == conn) {
			f->bound[i].conn = 0;
			return;
		}
	abort(); /* what was not bound is not unbound */
}

static inline void
fake_vmbus_signal(void *ctx, unsigned vp, unsigned flag)
{
	struct fake_vmbus *f = ctx;

	if (vp >= f->host.vps || flag >= 2048)
		abort();
	atomic_fetch_add(&f->signals, 1);
	atomic_fetch_or(&f->flag[vp][flag / 64], 1ull << flag % 64);
}

static inline void
fake_vmbus_retry(void *ctx, unsigned ms)
{
	((struct fake_vmbus *)ctx)->retry_ms = ms != 0 ? ms : 1;
}

/* Memory of `mb` MiB at 0, `vps` processors, a bus. 0 or -errno. */
static inline int
fake_vmbus_init(struct fake_vmbus *f, uint64_t mb, unsigned vps)
{
	struct err e;
	int rc;

	memset(f, 0, sizeof(*f));
	rc = gmem_new(&f->mem, mb << 20, false, &e);
	if (rc == 0)
		rc = gmem_add(f->mem, 0, mb << 20, NULL, &e);
	f->host = (struct vmbus_host){ .ctx = f,
		.mem = f->mem,
		.vps = vps,
		.post = fake_vmbus_post,
		.bind = fake_vmbus_bind,
		.unbind = fake_vmbus_unbind,
		.signal = fake_vmbus_signal,
		.retry = fake_vmbus_retry };
	f->next_page = FAKE_FIRST_PAGE;
	f->next_gpadl = 0xe1e10;
	f->connection = CONNECTION_MESSAGE_NEW;
	f->heard = calloc(FAKE_HEARD, sizeof(*f->heard));
	if (rc == 0)
		rc = vmbus_new(&f->bus, &f->host, &e);
	return f->heard != NULL ? rc : -ENOMEM;
}

/* Devices have let go, or will not be asked any more. */
static inline void
fake_vmbus_free(struct fake_vmbus *f)
{
	vmbus_free(f->bus);
	gmem_free(f->mem);
	free(f->heard);
	memset(f, 0, sizeof(*f));
}

/* --- messages --- */

/* HvPostMessage; the control thread does what came of it. */
static inline uint16_t
fake_post(struct fake_vmbus *f, uint32_t connection, const void *message, size_t len)
{
	bool wake = false;
	uint16_t status = vmbus_receive(f->bus, connection, MESSAGE_TYPE_VMBUS, message, len, &wake);

	if (wake)
		vmbus_work(f->bus);
	return status;
}

static inline uint16_t
fake_say(struct fake_vmbus *f, const void *message, size_t len)
{
	return fake_post(f, f->connection, message, len);
}

/* A message of which only the type and up to two numbers matter. */
static inline uint16_t
fake_say_numbers(struct fake_vmbus *f, uint32_t type, size_t len, uint32_t a, uint32_t b)
{
	uint32_t m[SYNIC_MESSAGE_MAX / 4] = { type, 0, a, b };

	return fake_say(f, m, len);
}

/* The guest empties its slots, and time passes, until nothing more comes. */
static inline void
fake_take(struct fake_vmbus *f)
{
	bool more = true;

	while (more) {
		more = false;
		for (unsigned vp = 0; vp < f->host.vps; vp++) {
			if (f->slot[vp].len == 0 || f->last - f->first == FAKE_HEARD)
				continue;
			f->heard[f->last++ % FAKE_HEARD] = f->slot[vp];
			f->slot[vp].len = 0;
			more = true;
		}
		if (more && f->retry_ms != 0) {
			f->retry_ms = 0;
			vmbus_retry(f->bus);
		}
	}
}

/* The next message to the guest: its type, 0 when there is none. */
static inline uint32_t
fake_hear(struct fake_vmbus *f, struct fake_message *m)
{
	fake_take(f);
	*m = (struct fake_message){ 0 };
	if (f->first == f->last)
		return 0;
	*m = f->heard[f->first++ % FAKE_HEARD];
	return m->head.type;
}

/* The next message of this type; others stay where they are. */
static inline bool
fake_await(struct fake_vmbus *f, uint32_t type, struct fake_message *m)
{
	size_t at;

	fake_take(f);
	*m = (struct fake_message){ 0 };
	for (at = f->first; at != f->last && f->heard[at % FAKE_HEARD].head.type != type; at++)
		;
	if (at == f->last)
		return false;
	*m = f->heard[at % FAKE_HEARD];
	for (; at != f->first; at--)
		f->heard[at % FAKE_HEARD] = f->heard[(at - 1) % FAKE_HEARD];
	f->first++;
	return true;
}

static inline void
fake_forget(struct fake_vmbus *f)
{
	fake_take(f);
	f->first = f->last;
}

/* --- the guest's driver --- */

static inline struct wire_contact
fake_contact(uint32_t version, unsigned vp)
{
	struct wire_contact c = { .head.type = WIRE_CONTACT, .version = version, .target_vp = vp };

	if (version >= VMBUS_5_0)
		c.target.sint = VMBUS_SINT;
	else
		c.interrupt_page = GMEM_PAGE;
	c.monitor_page[0] = 2 * GMEM_PAGE;
	c.monitor_page[1] = 3 * GMEM_PAGE;
	return c;
}

/* Connects as Linux does, with messages to processor `vp`. True when the host agreed. */
static inline bool
fake_connect_vp(struct fake_vmbus *f, uint32_t version, unsigned vp)
{
	struct wire_contact c = fake_contact(version, vp);
	struct fake_message m;

	f->connection = version >= VMBUS_5_0 ? CONNECTION_MESSAGE_NEW : CONNECTION_MESSAGE;
	fake_forget(f);
	if (fake_say(f, &c, sizeof(c)) != HV_STATUS_SUCCESS || !fake_await(f, WIRE_VERSION_RESPONSE, &m))
		return false;
	if (m.len < sizeof(m.version) || m.version.supported != 1 || m.version.state != 0)
		return false;
	f->version = version;
	if (version >= VMBUS_5_0)
		f->connection = m.version.connection;
	return true;
}

static inline bool
fake_connect(struct fake_vmbus *f, uint32_t version)
{
	return fake_connect_vp(f, version, 0);
}

/* Asks for offers; returns how many came before "all delivered", at most `cap` of them in `offer`. */
static inline size_t
fake_offers(struct fake_vmbus *f, struct wire_offer *offer, size_t cap)
{
	struct fake_message m;
	size_t n = 0;

	fake_say_numbers(f, WIRE_REQUEST_OFFERS, sizeof(struct wire_head), 0, 0);
	for (uint32_t type; (type = fake_hear(f, &m)) != 0 && type != WIRE_ALL_OFFERS;)
		if (type == WIRE_OFFER && m.len >= sizeof(m.offer) && n++ < cap)
			offer[n - 1] = m.offer;
	return n;
}

/* `n` pages that nobody else has, zeroed; the number of the first. */
static inline uint64_t
fake_pages(struct fake_vmbus *f, uint32_t n)
{
	uint64_t first = f->next_page;

	f->next_page += n;
	gmem_zero(f->mem, first * GMEM_PAGE, (uint64_t)n * GMEM_PAGE);
	return first;
}

static inline void
fake_gpadl_bodies(struct fake_vmbus *f, uint32_t gpadl, const uint64_t *pfn, size_t n)
{
	while (n != 0) {
		uint8_t m[SYNIC_MESSAGE_MAX] = { 0 };
		struct wire_gpadl_body b = { .head.type = WIRE_GPADL_BODY, .gpadl = gpadl };
		size_t now = n < FAKE_BODY_PFNS ? n : FAKE_BODY_PFNS;

		memcpy(m, &b, sizeof(b));
		memcpy(m + sizeof(b), pfn, now * sizeof(*pfn));
		fake_say(f, m, sizeof(b) + now * sizeof(*pfn));
		pfn += now;
		n -= now;
	}
}

/* The header only; returns how many page numbers went with it. */
static inline size_t
fake_gpadl_header(struct fake_vmbus *f, uint32_t relid, uint32_t gpadl, const uint64_t *pfn, size_t n,
    uint32_t offset, uint32_t len)
{
	uint8_t m[SYNIC_MESSAGE_MAX] = { 0 };
	struct wire_gpadl_header h = { .head.type = WIRE_GPADL_HEADER,
		.relid = relid,
		.gpadl = gpadl,
		.range_bytes = (uint16_t)(8 + 8 * n),
		.ranges = 1,
		.len = len,
		.offset = offset };
	size_t now = n < FAKE_HEADER_PFNS ? n : FAKE_HEADER_PFNS;

	memcpy(m, &h, sizeof(h));
	memcpy(m + sizeof(h), pfn, now * sizeof(*pfn));
	fake_say(f, m, sizeof(h) + now * sizeof(*pfn));
	return now;
}

/* Lends pages; the status in the host's answer, UINT32_MAX when there was none. */
static inline uint32_t
fake_gpadl_pages(struct fake_vmbus *f, uint32_t relid, uint32_t gpadl, const uint64_t *pfn, size_t n,
    uint32_t offset, uint32_t len)
{
	struct fake_message m;
	size_t done = fake_gpadl_header(f, relid, gpadl, pfn, n, offset, len);

	fake_gpadl_bodies(f, gpadl, pfn + done, n - done);
	if (!fake_await(f, WIRE_GPADL_CREATED, &m) || m.created.relid != relid || m.created.gpadl != gpadl)
		return UINT32_MAX;
	return m.created.status;
}

/* `n` pages from `first` on, whole. Returns the GPADL's id, 0 when the host refused it. */
static inline uint32_t
fake_gpadl(struct fake_vmbus *f, uint32_t relid, uint64_t first, uint32_t n)
{
	uint64_t *pfn = malloc(n * sizeof(*pfn));
	uint32_t id = f->next_gpadl++, status;

	if (pfn == NULL)
		abort();
	for (uint32_t i = 0; i < n; i++)
		pfn[i] = first + i;
	status = fake_gpadl_pages(f, relid, id, pfn, n, 0, n * GMEM_PAGE);
	free(pfn);
	return status == WIRE_STATUS_OK ? id : 0;
}

/* Takes it back; true when the host said that it has let go. */
static inline bool
fake_teardown(struct fake_vmbus *f, uint32_t relid, uint32_t gpadl)
{
	struct fake_message m;

	fake_say_numbers(f, WIRE_GPADL_TEARDOWN, sizeof(struct wire_gpadl_teardown), relid, gpadl);
	return fake_await(f, WIRE_GPADL_TORNDOWN, &m) && m.torndown.gpadl == gpadl;
}

/* --- an open channel, as its driver has it --- */

struct fake_ring {
	struct ring_control *control;
	uint8_t *data;
	uint32_t size;
};

struct fake_channel {
	struct fake_vmbus *f;
	uint32_t relid, connection, gpadl;
	uint64_t first; /* page of the rings */
	uint32_t pages, downstream;
	struct fake_ring out, in; /* as the guest sees it: it writes `out` */
};

static inline struct fake_ring
fake_ring(struct fake_vmbus *f, uint64_t first, uint32_t pages)
{
	uint8_t *p = gmem_span(f->mem, first * GMEM_PAGE, (size_t)pages * GMEM_PAGE);
	struct fake_ring r = { (struct ring_control *)(void *)p, p + GMEM_PAGE, (pages - 1) * GMEM_PAGE };

	r.control->features = RING_FEATURE_PENDING_SEND;
	return r;
}

static inline uint16_t
fake_open_again(struct fake_channel *c, uint32_t vp, uint32_t gpadl)
{
	struct wire_open o = { .head.type = WIRE_OPEN,
		.relid = c->relid,
		.open_id = c->relid,
		.gpadl = gpadl,
		.target_vp = vp,
		.downstream = c->downstream };

	return fake_say(c->f, &o, sizeof(o));
}

/* Opens the offered channel with rings of `out` and `in` pages (control page and data), interrupts to `vp`.
 * The status in the host's answer, UINT32_MAX when there was none, 1 when it refused the memory. */
static inline uint32_t
fake_open(struct fake_vmbus *f, struct fake_channel *c, const struct wire_offer *offer, uint32_t out,
    uint32_t in, uint32_t vp)
{
	struct fake_message m;

	*c = (struct fake_channel){ .f = f,
		.relid = offer->relid,
		.connection = offer->connection,
		.pages = out + in,
		.downstream = out };
	c->first = fake_pages(f, c->pages);
	c->out = fake_ring(f, c->first, out);
	c->in = fake_ring(f, c->first + out, in);
	c->gpadl = fake_gpadl(f, c->relid, c->first, c->pages);
	if (c->gpadl == 0)
		return 1;
	fake_open_again(c, vp, c->gpadl);
	if (!fake_await(f, WIRE_OPEN_RESULT, &m) || m.opened.relid != c->relid)
		return UINT32_MAX;
	return m.opened.status;
}

static inline void
fake_close(struct fake_channel *c)
{
	fake_say_numbers(c->f, WIRE_CLOSE, sizeof(struct wire_relid), c->relid, 0);
}

/* Closes and takes the rings back, as a driver does; true when the host has let go. */
static inline bool
fake_shut(struct fake_channel *c)
{
	fake_close(c);
	return fake_teardown(c->f, c->relid, c->gpadl);
}

static inline uint32_t
fake_ring_free(const struct fake_ring *r)
{
	uint32_t write = atomic_load((_Atomic uint32_t *)&r->control->write_index),
		 read = atomic_load((_Atomic uint32_t *)&r->control->read_index);

	return read > write ? read - write : r->size - (write - read);
}

static inline uint32_t
fake_ring_copy(struct fake_ring *r, uint32_t at, const void *data, size_t n)
{
	size_t first = n < r->size - at ? n : r->size - at;

	if (n) {
		memcpy(r->data + at, data, first);
		memcpy(r->data, (const uint8_t *)data + first, n - first);
	}
	return (uint32_t)((at + n) % r->size);
}

/* HvSignalEvent on a connection. False when nobody listens there. */
static inline bool
fake_kick(struct fake_vmbus *f, uint32_t conn)
{
	for (size_t i = 0; i < FAKE_BINDINGS; i++)
		if (f->bound[i].conn == conn)
			return eventfd_write(f->bound[i].fd, 1) == 0;
	return false;
}

/*
 * Sends a packet: head, `ext` (what belongs to the head of its kind: ranges), payload; signals if the rules
 * say so. False when there is no room; then the host has been asked to signal when there is. Where a test has
 * spoilt the ring's indices it still writes inside the ring only.
 */
static inline bool
fake_send(struct fake_channel *c, uint16_t type, uint16_t flags, uint64_t transaction, const void *ext,
    size_t ext_len, const void *payload, size_t len)
{
	static const uint8_t zeros[8];
	struct fake_ring *r = &c->out;
	uint32_t old = r->control->write_index % r->size, at;
	size_t rounded = (sizeof(struct packet_head) + ext_len + len + 7) / 8 * 8;
	struct packet_head h = { type, (uint16_t)((sizeof(h) + ext_len) / 8), (uint16_t)(rounded / 8), flags,
		transaction };
	uint64_t trailer = (uint64_t)old << 32;

	if (rounded + sizeof(trailer) >= fake_ring_free(r) || rounded > r->size) {
		atomic_store(
		    (_Atomic uint32_t *)&r->control->pending_send, (uint32_t)(rounded + sizeof(trailer)));
		return false;
	}
	r->control->pending_send = 0;
	at = fake_ring_copy(r, old, &h, sizeof(h));
	at = fake_ring_copy(r, at, ext, ext_len);
	at = fake_ring_copy(r, at, payload, len);
	at = fake_ring_copy(r, at, zeros, rounded - sizeof(h) - ext_len - len);
	at = fake_ring_copy(r, at, &trailer, sizeof(trailer));
	atomic_store((_Atomic uint32_t *)&r->control->write_index, at);
	if (atomic_load((_Atomic uint32_t *)&r->control->mask) == 0 &&
	    atomic_load((_Atomic uint32_t *)&r->control->read_index) == old)
		fake_kick(c->f, c->connection);
	return true;
}

/* Takes the next packet: its payload into buf, its length (rounded up to 8) as the result; -1 when there is
 * none. Signals when the host waits for room. */
static inline long
fake_recv(struct fake_channel *c, struct packet_head *h, void *buf, size_t cap)
{
	struct fake_ring *r = &c->in;
	uint32_t at = r->control->read_index, before = fake_ring_free(r), wanted;
	size_t skip, len;

	if (atomic_load((_Atomic uint32_t *)&r->control->write_index) == at)
		return -1;
	for (size_t i = 0; i < sizeof(*h); i++)
		((uint8_t *)h)[i] = r->data[(at + i) % r->size];
	skip = h->offset8 * 8u;
	len = h->len8 * 8u - skip;
	for (size_t i = 0; i < len && i < cap; i++)
		((uint8_t *)buf)[i] = r->data[(at + skip + i) % r->size];
	at = (uint32_t)((at + h->len8 * 8u + PACKET_TRAILER) % r->size);
	atomic_store((_Atomic uint32_t *)&r->control->read_index, at);
	wanted = atomic_load((_Atomic uint32_t *)&r->control->pending_send);
	if (wanted != 0 && before <= wanted && fake_ring_free(r) > wanted)
		fake_kick(c->f, c->connection);
	return (long)len;
}

/* Has the guest been interrupted for this flag? Clears it. */
static inline bool
fake_signalled(struct fake_vmbus *f, unsigned vp, unsigned flag)
{
	uint64_t bit = 1ull << flag % 64;

	return (atomic_fetch_and(&f->flag[vp][flag / 64], ~bit) & bit) != 0;
}

/* Has the host been kicked on this channel? Clears it. */
static inline bool
fake_kicked(const struct vmbus_channel *ch)
{
	eventfd_t n;

	return eventfd_read(ch->kick_fd, &n) == 0;
}

#endif
