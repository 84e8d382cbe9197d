/*
 * hypervisor/vsp/storage_private.h - the storage controller's inside: storage.c (units, control thread),
 * storage_channel.c (packets and requests), storage_protocol.c (operations), storage_state.c (saved state).
 *
 * Whatever is marked "I/O" belongs to the controller's I/O thread; the control thread reaches it through
 * io_loop_call only. The I/O thread may not allocate: requests and long arrays are mapped beforehand, and
 * become memory when they are used for the first time.
 */
#ifndef HYPERVISOR_VSP_STORAGE_PRIVATE_H
#define HYPERVISOR_VSP_STORAGE_PRIVATE_H

#include <stdatomic.h>

#include "hypervisor/vsp/gather.h"
#include "hypervisor/vsp/scsi.h"
#include "hypervisor/vsp/storage.h"

enum {
	VSTOR_PACKET = 64,
	VSTOR_PACKET_OLD = 48, /* before Windows 8: without what follows the sense data */

	REQUESTS = 384,       /* of one channel: a ring of 128 KiB full of commands, and a few */
	FEW = 8,              /* pieces of guest memory that a request holds by itself */
	PIECES = 272,         /* that it can have: 1 MiB of single pages, and the ends of a few ranges */
	LONG_ARRAYS = 128,    /* for requests with more than a few, or that need scratch memory */
	RANGES = 8,           /* in one packet */
	PACKET_MAX = 4096,    /* bytes of a packet that are looked at */
	DRAIN_AT_ONCE = 1024, /* packets, before others have their turn */
};

/* A piece of guest memory that is contiguous there and here. */
struct piece {
	uint64_t gpa;
	uint32_t len;
};

/* For one request: its pieces and their array, or scratch memory. */
union long_array {
	struct {
		struct piece piece[PIECES];
		struct iovec iov[PIECES];
	};
	uint8_t scratch[SCSI_SCRATCH];
	union long_array *next; /* while free */
};

struct channel;

/* One packet of the guest, until it is answered. */
struct request {
	struct scsi_cmd cmd;
	struct channel *ch;
	struct request *next; /* free, or done */
	uint64_t transaction;
	uint8_t reply; /* bytes: VSTOR_PACKET, VSTOR_PACKET_OLD; 0: no answer is wanted */
	bool answered; /* restored: its packet is the answer */
	uint8_t packet[VSTOR_PACKET];
	uint16_t pieces;
	uint32_t bytes; /* in them */
	struct piece *piece;
	struct iovec *iov;
	union long_array *array;   /* of the pieces, or NULL */
	union long_array *scratch; /* of the command, or NULL */
	struct piece few_piece[FEW];
	struct iovec few_iov[FEW];
};

/* I/O but for the fields marked. */
struct channel {
	struct storage *s;
	struct vmbus_channel *ch;
	struct channel *next; /* of the controller */
	struct io_watch kick;
	struct gather gather;
	unsigned found;           /* packets, when the ring was read last */
	struct io_timer again;    /* there is more to read */
	struct request *requests; /* REQUESTS, mapped */
	unsigned made;            /* of them have been used */
	struct request *spare;
	unsigned busy; /* requests that are not spare */
	struct request *done, **done_last;
	struct request *restored, **restored_last; /* to be begun, or sent, when all is restored */
	bool stalled;                              /* stopped reading before the ring was empty */
	bool closing, gone, broken, told;
	const char *why; /* it broke */
};

/* Packets that make no sense. */
enum storage_mistake { MISTAKE_LENGTH, MISTAKE_TYPE, MISTAKE_SHORT, MISTAKE_MEMORY, STORAGE_MISTAKES };

enum protocol_state {
	PROTOCOL_START,
	PROTOCOL_VERSION,    /* begun: a version is to be agreed on */
	PROTOCOL_PROPERTIES, /* agreed */
	PROTOCOL_END,        /* properties told */
	PROTOCOL_READY,
	PROTOCOL_STATES
};

struct storage {
	struct vmbus_device dev; /* first */
	struct io_loop *loop;
	struct storage_events events;
	unsigned number, max_subchannels;
	uint8_t machine_id[16];
	char name[32];
	struct scsi_host host;
	struct io_round round;
	union long_array *arrays; /* LONG_ARRAYS, mapped */

	/* I/O */
	enum protocol_state state;
	atomic_uint version; /* major << 8 | minor; read by any thread */
	struct scsi_unit *unit[STORAGE_UNITS];
	uint64_t luns; /* bit n: there is a unit n */
	struct channel *channels;
	unsigned arrays_made;
	union long_array *spare_arrays;
	unsigned running;      /* commands that have begun and not ended; those that wait included */
	struct request *reset; /* a reset that waits for them to end: all, or those of one unit */
	struct scsi_unit *reset_unit;
	bool reset_all;
	struct request *subchannels; /* a request for sub-channels that the control thread has not seen */
	bool paused;                 /* by the worker */
	bool restoring;              /* from the saved state's reading until all is restored */
	bool enumerate;              /* ENUMERATE_BUS is to be sent */
	bool asked;                  /* the control thread has been asked to look */
	atomic_int told[STORAGE_MISTAKES]; /* in the log, once */
	struct scsi_medium *retired;
	struct scsi_unit *left;
	uint8_t packet[PACKET_MAX] __attribute__((aligned(8)));
};

/* Rings are not touched now. */
static inline bool
storage_rests(const struct storage *s)
{
	return s->paused || s->restoring;
}

/* storage_channel.c. I/O thread, but for open and close. */
int storage_channel_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e);
void storage_channel_close(struct vmbus_device *d, struct vmbus_channel *ch);
/* Control thread: the memory of a channel that is gone. */
void storage_channel_free(struct channel *c);
void channel_drain(struct channel *c);
void channel_round(void *ctx);
/* The packet is answered: it goes out with the others of this round. */
void request_answer(struct request *r);
struct request *request_new(struct channel *c);
void request_free(struct request *r);
/* The guest's memory of a request, piece by piece: -EFAULT, -E2BIG, -ENOBUFS (no array is free now). */
int request_add(struct request *r, uint64_t gpa, uint32_t len);
/* Its array as it was when it came. */
void request_rewind(struct request *r);
bool storage_scratch(void *ctx, struct scsi_cmd *c);
/* Something for the control thread. */
void storage_ask(struct storage *s);
/* Held: no packet is read or written, what waits goes on waiting. */
void storage_hold(struct storage *s, bool held);

/* storage_protocol.c. I/O thread. */
void protocol_packet(struct request *r);
/* For a packet that cannot be understood. */
void protocol_refuse(struct request *r);
bool protocol_is_command(const struct request *r);
/* The bytes that a command says it moves; 0 for what is none. */
uint32_t protocol_transfer(const struct request *r);
/* Begins the command in r->packet, once more or for the first time. */
void protocol_execute(struct request *r, bool again);
/* How many sub-channels a request asks for; the bus has offered them, or not. */
unsigned protocol_subchannels(const struct request *r);
void protocol_subchannels_done(struct storage *s, int rc);
void protocol_look_at_reset(struct storage *s);
void protocol_close(struct storage *s);
bool protocol_has_version(unsigned version);
void protocol_enumerate(uint8_t packet[VSTOR_PACKET]);

/* storage_state.c */
void storage_snap(struct vmbus_device *d, struct snap *s);
void storage_restored(struct vmbus_device *d);

#endif
