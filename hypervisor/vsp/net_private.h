/*
 * hypervisor/vsp/net_private.h - the network adapter's inside:
 *
 *   net.c          life, and what is left to the control thread
 *   net_channel.c  rings of a channel: packets in, completions and messages out
 *   net_memory.c   guest memory of a message, the buffers that the guest lends
 *   nvsp.c         NVSP messages: versions, buffers, sub-channels
 *   rndis.c        RNDIS control messages and indications
 *   rndis_send.c   RNDIS packets of the guest, to the tap
 *   net_receive.c  frames of the tap, to the guest
 *   net_parts.c    the memory that a frame is read into
 *   net_frame.c    what the guest is told of a frame
 *   net_rss.h      receive scaling: hash and table
 *   net_sections.c the guest's receive buffer, section by section
 *   oid.c          the table of OIDs; oid_offload.c: those about offloads and RSS
 *   net_buffers.c  buffers that the guest lends, on the control thread
 *   net_tap.c      a tap's descriptors and settings
 *   net_state.c    saved state
 *
 * Whatever is a queue's belongs to its I/O thread, whatever is marked "primary" to that of queue 0; the
 * control thread reaches both through io_loop_call only. What other queues look at is atomic. Nothing is
 * allocated on an I/O thread: a queue's pools are mapped when its channel is opened, and become memory when
 * they are used.
 */
#ifndef HYPERVISOR_VSP_NET_PRIVATE_H
#define HYPERVISOR_VSP_NET_PRIVATE_H

#include <linux/virtio_net.h>
#include <stdatomic.h>

#include "hypervisor/vsp/gather.h"
#include "hypervisor/vsp/net.h"
#include "hypervisor/vsp/net_rss.h"

enum {
	NVSP_MESSAGE = 40,     /* bytes of one, of the newest version; older drivers look at fewer */
	NET_PACKET_MAX = 4096, /* of a packet that are looked at */
	NET_RANGES = 64,       /* in one packet */
	NET_PIECES = 160,      /* of guest memory that one packet may have */
	SEND_SECTION = 6144,
	FRAMES = 512,          /* on their way to the tap, a queue */
	FRAMES_A_PACKET = 128, /* RNDIS messages in one packet */
	SENDS = 256,           /* packets with frames on their way, a queue */
	DONES = 32,            /* that wait for company */
	HEADERS = 256,         /* bytes at a frame's start that may be rewritten */
	READS = 64,            /* of the tap at a time, a queue */
	BATCH = 32,            /* frames in one packet to the guest */
	RANGES = 128,          /* sections in one packet to a guest that takes long frames */
	BATCHES = 1024,        /* such packets that the guest may hold, a queue */
	SECTIONS = 16384,      /* of the receive buffer, in all queues */
	KEPT_SECTIONS = 4,     /* of the primary: not for frames */
	CONTROL_MAX = 1024,    /* bytes of a control message, from the guest and to it */
	CONTROLS = 16,         /* that wait to be sent to it */
	ETHERNET = 14,
	VLAN = 4,
	FRAME_MAX = 65536,
	RECEIVE_AT = 128, /* the frame, from the start of its message */
	RECEIVE_END = 36, /* bytes behind it that some drivers cannot use */
	/* Sections of a guest that takes long frames are multiples of this: those of the longest frame, and
	 * the stretches of memory that they are, wherever the buffer begins in its first page. */
	LONG_SECTION = 8192,
	PARTS = 1 + (FRAME_MAX + VLAN) / (LONG_SECTION - RECEIVE_AT - RECEIVE_END),
	READ_PIECES = 3 * PARTS,
	MULTICASTS = 32,
	SEND_TABLE = 16,
	VNET = sizeof(struct virtio_net_hdr_mrg_rxbuf), /* 12: as the tap is told */
};

enum nvsp_version {
	NVSP_1 = 0x00002,
	NVSP_2 = 0x30002,
	NVSP_4 = 0x40000,
	NVSP_5 = 0x50000,
	NVSP_6 = 0x60000,
	NVSP_6_1 = 0x60001,
};

enum nvsp_status { NVSP_NONE, NVSP_OK, NVSP_FAIL, NVSP_TOO_NEW, NVSP_TOO_OLD, NVSP_INVALID, NVSP_BUSY };

/* --- guest memory --- */

struct net_piece {
	uint64_t gpa;
	uint32_t len;
};
/* What one message consists of, in order. */
struct net_pieces {
	unsigned n;
	uint32_t bytes;
	struct net_piece piece[NET_PIECES];
};
/* Memory that the guest has lent for as long as the channel is open. pfn NULL: none. */
struct net_buffer {
	const uint64_t *pfn;
	uint32_t offset, len; /* of its bytes in the first page; in all */
	uint32_t gpadl;
	uint16_t id;
	uint32_t section, sections; /* bytes of each, how many */
};

int pieces_add(struct net_pieces *ps, const struct gmem *mem, uint64_t gpa, uint32_t len);
int pieces_add_buffer(
    struct net_pieces *ps, const struct gmem *mem, const struct net_buffer *b, uint32_t at, uint32_t len);
/* False unless at..at+len-1 are in it. The one place where an offset and a length of the guest's meet. */
static inline bool
within(uint64_t at, uint64_t len, uint64_t size)
{
	return at <= size && len <= size - at;
}
bool pieces_read(const struct net_pieces *ps, const struct gmem *mem, uint32_t at, void *buf, uint32_t len);
/* How many iovecs they make, at most cap; 0 when there are more, or they do not exist. */
unsigned pieces_iov(const struct net_pieces *ps, const struct gmem *mem, uint32_t at, uint32_t len,
    struct iovec *iov, unsigned cap);
/* The same of a buffer, page by page: 0 when it has no such memory, or too many. */
unsigned buffer_iov(const struct net_buffer *b, const struct gmem *mem, uint32_t at, uint32_t len,
    struct iovec *iov, unsigned cap);
/* Does not mark what it has written (buffer_dirty). */
bool buffer_write(const struct net_buffer *b, struct gmem *mem, uint32_t at, const void *buf, uint32_t len);
void buffer_dirty(const struct net_buffer *b, struct gmem *mem, uint32_t at, uint32_t len);
/* The Internet checksum's sum, folded; not inverted. sum: what was added up so far. */
uint32_t bytes_sum(uint32_t sum, const void *p, size_t n);
uint16_t sum_fold(uint32_t sum);

/* --- what is under way in a queue --- */

struct net_queue;

/* A packet of the guest, until it is completed. */
struct send {
	struct send *next; /* free, or done */
	uint64_t transaction;
	unsigned left; /* frames that are on their way */
	bool reply;
	bool patient; /* nothing but a section of its buffer waits for the answer */
	uint8_t len;  /* of the answer; 0: an empty one */
	uint8_t message[NVSP_MESSAGE];
};

/* A frame to the tap. */
struct frame {
	struct io_op op; /* first */
	struct frame *next;
	struct net_queue *q;
	struct send *send;
	uint32_t len;
	uint8_t first; /* byte of its destination: whom it is counted for */
	bool broadcast;
	struct virtio_net_hdr_mrg_rxbuf vnet;
	uint8_t head[HEADERS];
	struct iovec iov[2 + NET_PIECES];
};

/* A read of the tap, and then the frame that came of it: its parts lie in sections, one in each. */
struct receive {
	struct io_op op; /* first */
	struct receive *next;
	struct net_queue *q;
	uint32_t generation;  /* of the buffer that the sections are in */
	uint16_t gone, parts; /* section[gone..parts-1] are there; those before are the guest's now */
	uint16_t used;        /* parts of the frame */
	uint32_t len;         /* of the frame */
	uint16_t section[PARTS];
	struct virtio_net_hdr_mrg_rxbuf vnet;
	struct iovec iov[1 + READ_PIECES]; /* the header's, then q->part_pieces for each part */
};

/* A packet that the guest holds: its sections are a list in the queue's chain. */
struct batch {
	uint16_t next;  /* free: index + 1 */
	uint16_t n;     /* 0: not in use */
	uint16_t first; /* section */
};

struct net_queue {
	struct net *n;
	unsigned index;
	struct io_loop *loop;
	struct io_round round;
	struct io_watch kick;
	struct io_timer again; /* there is more to read */
	struct gather gather;
	unsigned found;
	_Atomic uint64_t count[NET_COUNTS]; /* written here, read by anyone */

	struct vmbus_channel *ch; /* NULL: not open */
	void *pools;              /* mapped; control thread's, as long as it is open */
	bool closing, broken, told, stalled;
	const char *why; /* it broke */

	/* The tap. */
	struct io_watch tap; /* slot -1: none */
	bool tap_own;        /* it reads, too; else it writes to another's */
	bool tap_watched, tap_ready;
	atomic_int tap_told; /* log_once */
	unsigned reads, writes;
	unsigned got;      /* frames, by the last round of reads */
	unsigned got_all;  /* since it was found empty */
	unsigned expected; /* as many as the time before */
	bool starved;

	struct net_rss rss; /* as the control thread has given it */

	/* Buffers, as the control thread has given them. */
	struct net_buffer receive, send;
	uint32_t generation; /* of the receive buffer: part of transaction ids */
	uint32_t first_section, sections, free_sections;
	uint32_t look_from;   /* below it no section is free */
	uint64_t *used;       /* a bit a section of the whole buffer */
	uint16_t *chain;      /* of each section of a batch: the next */
	uint32_t part;        /* bytes of a frame in one section */
	unsigned part_pieces; /* of memory that these may be */
	unsigned long_parts;  /* that the longest frame may need; 0: there is no room for such */
	uint16_t long_id;     /* of the last frame that was told in parts */

	struct send *sends, *spare_send, *done, **done_last;
	unsigned sends_made;
	unsigned dones;       /* that wait to be told */
	bool done_due;        /* not for long */
	struct io_timer late; /* set when they began to wait; at 0: not set */
	struct frame *frames, *spare_frame;
	unsigned frames_made, frames_busy;
	struct receive *receives, *spare_receive, *ready, **ready_last;
	unsigned receives_made;
	struct batch *batches;
	uint16_t spare_batch; /* index + 1 */
	unsigned batches_made;

	struct net_pieces pieces; /* of the packet that is looked at */
	uint8_t packet[NET_PACKET_MAX] __attribute__((aligned(8)));
};

/* Packets that make no sense. */
enum net_mistake {
	MISTAKE_LONG,
	MISTAKE_KIND,
	MISTAKE_NVSP,
	MISTAKE_TIME,
	MISTAKE_SPACE,
	MISTAKE_RNDIS,
	MISTAKE_CONTROL,
	MISTAKE_FLOOD,
	MISTAKE_COMPLETION,
	MISTAKE_SOURCE,
	NET_MISTAKES
};

enum nvsp_state { NVSP_START, NVSP_AGREED, NVSP_STATES };

/* What the primary's thread has asked the control thread; one at a time, and no packet is read meanwhile. */
enum net_job_kind {
	JOB_NONE,
	JOB_RECEIVE_BUFFER,
	JOB_SEND_BUFFER,
	JOB_REVOKE_RECEIVE,
	JOB_REVOKE_SEND,
	JOB_SUBCHANNELS,
	NET_JOBS
};
struct net_job {
	enum net_job_kind kind;
	struct send *send; /* which waits for it */
	uint32_t gpadl, number;
	uint16_t id;
};

/* A control message for the guest. */
struct control {
	uint32_t len;
	uint8_t bytes[CONTROL_MAX];
};

struct net {
	struct vmbus_device dev; /* first */
	struct net_events events;
	struct net_config config;
	unsigned number, queues;
	char name[32];
	atomic_bool asked;
	atomic_int logged[NET_MISTAKES];
	struct net_queue *queue; /* NET_QUEUES of them */

	/* Any thread reads them; the primary writes them, but for those marked. */
	atomic_uint version;    /* enum nvsp_version; 0 */
	atomic_bool ready;      /* RNDIS is initialized */
	atomic_uint filter;     /* of packets for the guest */
	atomic_uint frame_max;  /* without GSO */
	atomic_bool vlan;       /* tags go beside the frame */
	atomic_bool coalesce;   /* the guest takes frames of 64 KiB, in parts */
	atomic_bool checked;    /* it wants to be told of checksums above IP */
	atomic_bool checked_ip; /* and of those of IPv4's own header */
	atomic_bool tap_dirty;  /* settings of the tap have to follow */
	atomic_bool rss_dirty;  /* the queues' copies of rss have to */
	_Atomic uint64_t mac;   /* little-endian bytes */
	_Atomic uint64_t bins;  /* of multicast addresses */
	atomic_bool link;       /* control thread */
	atomic_bool paused, restoring;
	atomic_bool wants_idle; /* control thread: it waits for operations to end */

	/* Primary. */
	enum nvsp_state state;
	uint32_t ndis, mtu;
	bool rndis;
	struct net_job job;
	uint32_t subchannels; /* granted */
	bool table_due;       /* the send table is to be told */
	bool table_told;
	bool link_told;
	bool network_changed;
	uint64_t link_at; /* when "down" was told */
	struct io_timer link_timer;
	struct control control[CONTROLS];
	unsigned first_control, controls;
	uint32_t multicasts;
	uint8_t multicast[MULTICASTS][NET_MAC];
	struct net_rss rss;
	uint8_t checksum_state[5]; /* IPv4, TCP and UDP on it, TCP and UDP on IPv6: as OFFLOAD_PARAMETERS has
				      them */

	/* Control thread. */
	struct {
		int fd; /* -1: none */
		int slot;
		bool is_tap, joined;
	} tap[NET_QUEUES];
	unsigned taps;
	unsigned open;                             /* channels */
	struct vmbus_channel *channel[NET_QUEUES]; /* open, or closing */
	bool leaving[NET_QUEUES];                  /* closing */
	bool revoked[2];                           /* receive, send buffer: wanted back by the guest */
	uint32_t wanted_back[2];                   /* their GPADLs, once the queues have let go */
};

static inline void
net_count(struct net_queue *q, enum net_count c, uint64_t by)
{
	uint64_t v = atomic_load_explicit(&q->count[c], memory_order_relaxed);

	atomic_store_explicit(&q->count[c], v + by, memory_order_relaxed);
}
static inline struct gmem *
queue_memory(const struct net_queue *q)
{
	return q->ch->rings.in.mem;
}
static inline bool
net_rests(const struct net *n)
{
	return atomic_load_explicit(&n->paused, memory_order_relaxed) ||
	       atomic_load_explicit(&n->restoring, memory_order_relaxed);
}

/* --- net.c --- */
void net_ask(struct net *n);
/* Told once for each cause. */
void net_mistake(struct net *n, enum net_mistake m);

/* --- net_channel.c: I/O thread, but for open and close --- */
int queue_open(struct net *n, struct vmbus_channel *ch, struct err *e);
void queue_begin_close(void *arg); /* on its loop */
void queue_unmap(struct net_queue *q);
void queue_init(struct net_queue *q, struct net *n, unsigned index, struct io_loop *loop);
void queue_round(void *ctx);
void queue_break(struct net_queue *q, const char *why);
/* A packet is completed: it is told with others, in this round. */
void send_done(struct net_queue *q, struct send *s);
struct frame *frame_new(struct net_queue *q);
void frame_begin(struct frame *f, unsigned iovs);
void frame_free(struct frame *f);
/* An operation on the tap has ended. */
void queue_ended(struct net_queue *q);

/* --- net_receive.c --- */
void receive_init(struct net_queue *q);
void receive_start(struct net_queue *q); /* with a channel and a tap */
void receive_stop(struct net_queue *q);
void receive_pump(struct net_queue *q);
/* What there is for the guest: 0, -EAGAIN, -EPROTO. */
int receive_flush(struct net_queue *q, bool *signal);
/* The buffer has changed: nothing that the guest holds counts any more. */
void receive_buffer(struct net_queue *q, const struct net_buffer *b);
void receive_drop(struct net_queue *q);
/* --- net_parts.c --- */
/* Parts of the longest frame in a buffer of which each queue has so many sections; 0: no room for such. */
unsigned parts_of_long_ones(const struct net_buffer *b, uint32_t sections);
/* Stretches of memory that a part of it may consist of. */
unsigned parts_pieces(const struct net_buffer *b);
/* Memory for so many parts, and no more. False: there are not so many sections. */
bool parts_fill(struct receive *r, unsigned want);
/* What receives hold that are not in use. */
void parts_reclaim(struct net_queue *q);
static inline unsigned
parts_iovs(const struct receive *r)
{
	return 1 + r->parts * r->q->part_pieces;
}
/* Bytes of the frame in its part k. */
static inline uint32_t
part_bytes(const struct receive *r, unsigned k)
{
	return k + 1u < r->used ? r->q->part : r->len - k * r->q->part;
}
/* The read has brought a frame of so many bytes. */
void frame_is(struct receive *r, uint32_t len);
/* False unless at..at+len-1 are in the frame. */
bool frame_read(const struct receive *r, uint32_t at, void *buf, uint32_t len);
bool frame_write(struct receive *r, uint32_t at, const void *buf, uint32_t len);
uint16_t frame_sum(const struct receive *r, uint32_t at, uint32_t len);
void frame_copy(struct receive *to, const struct receive *from);
/* Before the bytes of part k, from the section's start: RECEIVE_AT bytes at most. */
void part_head(struct receive *r, unsigned k, const void *head, uint32_t len);
/* All was written that will be. */
void frame_dirty(const struct receive *r);

/* --- net_frame.c --- */
enum { LOOK_AT = 64 }; /* bytes of a frame that decide something */
/* What goes beside a frame. */
struct told {
	uint32_t checksums, hash;
	bool hashed;
};

bool frame_wanted(const struct net *n, const uint8_t *to);
void frame_count(struct net_queue *q, const uint8_t *to, uint32_t len);
/* Which of its checksums are right; one that its sender has left out is made. False: the frame cannot be
 * given to the guest. head: its first `have` bytes. */
bool frame_checksums(struct receive *r, const uint8_t *head, uint32_t have, uint32_t *are);
/* The RNDIS message, or one for each part. False: the frame makes no sense. */
bool frame_heads(struct receive *r, const uint8_t *head, uint32_t have, const struct told *told);

/* --- net_sections.c --- */
/* What belongs to the head of such a packet: its ranges. */
struct pages {
	uint8_t bytes[8 + 8 * RANGES];
	unsigned n;
};

void pages_add(const struct net_queue *q, struct pages *p, uint32_t section, uint32_t len);
int pages_send(struct net_queue *q, struct pages *p, uint32_t channel, uint64_t transaction, bool *signal);

/* One, unless no more than `keep` would be left. */
bool sections_take(struct net_queue *q, uint32_t keep, uint16_t *section);
void sections_release(struct net_queue *q, uint16_t section);
void receive_completed(struct net_queue *q, uint64_t transaction);
/* A control message into a section: 0, -EAGAIN, -ENOBUFS, -EPROTO. */
int receive_control(struct net_queue *q, const struct control *c, bool *signal);
/* NULL: the guest holds as many as it may. */
struct batch *batch_new(struct net_queue *q, uint64_t *transaction);
void batch_add(struct net_queue *q, struct batch *b, uint16_t section);
void batch_free(struct net_queue *q, struct batch *b);
/* A batch of a saved state, with this number: NULL when there is none such, or it is in use. */
struct batch *batch_at(struct net_queue *q, uint32_t number);
/* False when the section is not the queue's own, or taken. */
bool batch_claim(struct net_queue *q, struct batch *b, uint16_t section);

/* --- nvsp.c --- */
/* message: NVSP_MESSAGE bytes of which len came. Packet and pieces are the queue's. */
void nvsp_packet(
    struct net_queue *q, struct send *s, const struct packet *p, const uint8_t *message, size_t len);
void nvsp_refuse(struct net_queue *q, struct send *s, enum net_mistake m, uint32_t type);
bool nvsp_has_version(uint32_t version);
/* The control thread's job is done. */
void nvsp_job_done(struct net *n, int rc);
/* 134, into message: its length. */
size_t nvsp_table(const struct net *n, uint8_t *message);
void nvsp_close(struct net *n);
uint32_t nvsp_section(const struct net *n); /* bytes of a section of the receive buffer */
/* Into how many parts a receive buffer of so many sections is cut: one for each queue that may come. */
unsigned nvsp_shares(const struct net *n, uint32_t sections);
void nvsp_answer(struct net_queue *q, struct send *s, uint32_t type, uint32_t status);

/* --- rndis.c: primary --- */
/* The control message in the queue's pieces. False: it is none. */
bool rndis_control(struct net *n, const struct net_pieces *ps, const struct gmem *mem);
void rndis_link(struct net *n);
void rndis_close(struct net *n);

enum rndis_type {
	RNDIS_PACKET = 1,
	RNDIS_INITIALIZE = 2,
	RNDIS_HALT = 3,
	RNDIS_QUERY = 4,
	RNDIS_SET = 5,
	RNDIS_RESET = 6,
	RNDIS_INDICATE = 7,
	RNDIS_KEEPALIVE = 8,
	RNDIS_PACKET_HEAD = 44,
	PPI_HEAD = 12,
	PPI_CHECKSUM = 0,
	PPI_LSO = 2,
	PPI_VLAN = 6,
	PPI_HASH = 8, /* as Linux calls it: NBL_HASH_VALUE */
	PPI_PART = 1, /* internal: this message is a part of a frame */
};
#define PPI_INTERNAL 0x80000000u
#define RNDIS_DONE   0x80000000u
/* Statuses, of NDIS. */
#define RNDIS_OK            0u
#define RNDIS_FAILURE       0xc0000001u
#define RNDIS_INVALID_DATA  0xc0010015u
#define RNDIS_NOT_SUPPORTED 0xc00000bbu
#define RNDIS_LENGTH        0xc0010014u

/* --- rndis_send.c --- */
/* All packets in the queue's pieces: a status of NVSP. */
uint32_t rndis_send(struct net_queue *q, struct send *s);

/* --- oid.c: primary --- */
/* A status. out has CONTROL_MAX - 64 bytes; *len: of them, used. */
uint32_t oid_query(
    struct net *n, uint32_t oid, const uint8_t *in, uint32_t in_len, uint8_t *out, uint32_t *len);
uint32_t oid_set(struct net *n, uint32_t oid, const uint8_t *in, uint32_t in_len);
uint64_t net_total(const struct net *n, enum net_count c);
void oid_reset(struct net *n);
/* From what is in n->multicast. */
void oid_multicast_bins(struct net *n);
unsigned oid_multicast_bin(const uint8_t address[NET_MAC]);

/* --- oid_offload.c --- */
uint32_t offload_capabilities(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out);
uint32_t offload_config(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out);
uint32_t offload_set(struct net *n, const uint8_t *in, uint32_t in_len);
uint32_t rss_capabilities(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out);
uint32_t rss_set(struct net *n, const uint8_t *in, uint32_t in_len);
/* n->rss has changed. */
void rss_changed(struct net *n);
/* From n->checksum_state. */
void offload_apply(struct net *n);

/* --- net_tap.c: control thread --- */
int tap_check(int fd, bool *is_tap, struct err *e);
void tap_offloads(int fd, bool checksums, bool segments);
void tap_join(int fd, bool join);
/* If they may have changed. */
void net_follow_offloads(struct net *n);
int net_leave_taps(struct net *n, struct err *e);

/* --- net_state.c --- */
void net_snap(struct vmbus_device *d, struct snap *s);
void net_restored(struct vmbus_device *d);

/* --- net_buffers.c: control thread --- */
int net_find_buffer(struct net *n, bool send, uint32_t gpadl, uint16_t id, struct net_buffer *b);
void net_give_buffer(struct net *n, bool send, const struct net_buffer *b);
void net_take_buffer(struct net *n, bool send);
/* Nothing is in flight below, on a queue or on any. */
bool net_queue_idle(const struct net_queue *q);
bool net_all_idle(const struct net *n);

#endif
