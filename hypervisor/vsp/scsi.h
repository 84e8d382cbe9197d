/*
 * hypervisor/vsp/scsi.h - SCSI units: disks and DVD drives, and the commands they understand.
 *
 * A unit knows nothing of VMBus: its controller hands it commands (struct scsi_cmd) whose data is an array of
 * pieces of guest memory, and hears when each is done. All of it runs on the controller's I/O thread.
 *
 * Everything in a command is the guest's choice. Data that comes from it is copied before it is looked at; a
 * command touches at most `len` bytes, in the direction `dir`.
 */
#ifndef HYPERVISOR_VSP_SCSI_H
#define HYPERVISOR_VSP_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "hypervisor/core/io_loop.h"
#include "hypervisor/disk/disk.h"
#include "hypervisor/vsp/limits.h"
#include "hypervisor/vsp/storage.h"

enum {
	SCSI_CDB = 16,
	SCSI_SENSE = 18,                 /* fixed format */
	SCSI_MAX_TRANSFER = 1024 * 1024, /* bytes that one command may move */
	SCSI_SCRATCH = 8192,             /* bytes of scratch memory for one command */
};

enum scsi_status { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2, SCSI_BUSY = 8 };
enum scsi_dir { SCSI_OUT = 0, SCSI_IN = 1, SCSI_NO_DATA = 2 };

/* Sense key, additional sense code and its qualifier. */
enum scsi_sense {
	SENSE_NONE = 0,
	SENSE_NO_MEDIUM = 0x023a00,
	SENSE_NO_MEDIUM_TRAY_OPEN = 0x023a02,
	SENSE_WRITE_ERROR = 0x030c00,
	SENSE_READ_ERROR = 0x031100,
	SENSE_LIST_LENGTH = 0x051a00,
	SENSE_OPCODE = 0x052000,
	SENSE_LBA_RANGE = 0x052100,
	SENSE_FIELD_IN_CDB = 0x052400,
	SENSE_NO_LUN = 0x052500,
	SENSE_FIELD_IN_LIST = 0x052600,
	SENSE_NO_SAVED_PAGES = 0x053900,
	SENSE_REMOVAL_PREVENTED = 0x055302,
	SENSE_MEDIUM_CHANGED = 0x062800,
	SENSE_POWER_ON = 0x062900,
	SENSE_CAPACITY_CHANGED = 0x062a09,
	SENSE_WRITE_PROTECTED = 0x072700,
	SENSE_NO_SPACE = 0x072707,
	SENSE_ABORTED = 0x0b0000,
	SENSE_MISCOMPARE = 0x0e1d00,
};

/* Unit attentions that wait to be told, the most important in the lowest bit. */
enum {
	ATTENTION_POWER_ON = 1,
	ATTENTION_MEDIUM = 2,
	ATTENTION_CAPACITY = 4,
	ATTENTION_ALL = 7,
};

struct scsi_unit;
struct scsi_cmd;

/* What is in a unit. Lives until the last command that uses it has ended. */
struct scsi_medium {
	struct disk *disk;
	unsigned users;
	bool retired;             /* no unit's any more: given to host->retired when users is 0 */
	struct scsi_medium *next; /* its new owner's */
};

/* What units ask of their controller. */
struct scsi_host {
	void *ctx;
	struct io_loop *loop;
	/* SCSI_SCRATCH bytes in c->scratch, which stay until c is done: false when there are none now. */
	bool (*scratch)(void *ctx, struct scsi_cmd *c);
	/* May c wait for space? Not if somebody waits for its end. */
	bool (*may_wait)(void *ctx, const struct scsi_cmd *c);
	/* c waits for space; scsi_retry gives it back by `again`, which begins it anew. */
	void (*full)(void *ctx, struct scsi_unit *u, int error);
	void (*again)(void *ctx, struct scsi_cmd *c);
	void (*ejected)(void *ctx, struct scsi_unit *u);
	void (*slow)(void *ctx, struct scsi_unit *u, uint64_t iops);
	void (*failed)(void *ctx, struct scsi_unit *u, enum disk_op op, uint64_t offset, int error);
	/* Nobody uses the medium or the unit that was taken away any more. */
	void (*retired)(void *ctx, struct scsi_medium *m);
	void (*left)(void *ctx, struct scsi_unit *u);
};

struct scsi_queue {
	struct scsi_cmd *first, **last;
};

struct scsi_type;

struct scsi_unit {
	const struct scsi_type *type;
	const struct scsi_host *host;
	unsigned lun;
	struct unit_config config; /* serial and wwn as the guest sees them */
	struct scsi_medium *medium;

	/* What the guest made of it: saved. */
	uint8_t attention;
	bool write_through; /* WCE is off: every write is stable when it is done */
	bool locked, tray_open;
	uint8_t media_event; /* that GET EVENT STATUS NOTIFICATION has not told yet */
	/* What its guest was told of a disk before this one: it goes on to hold (scsi_thin.c). */
	bool told_discard, told_zeroes;
	uint32_t sense; /* of a command whose sense had no room: for REQUEST SENSE */

	unsigned users; /* commands, waiting ones included */
	bool leaving, held, resting;
	struct scsi_queue throttled, full, rested;
	struct limits limits;
	struct iops_floor floor;
	struct io_timer limit_timer, floor_timer;
	struct unit_stats stats;
	struct scsi_unit *next; /* the controller's */
};

struct scsi_cmd {
	/* The controller's: set before scsi_execute, except scratch. */
	uint8_t cdb[SCSI_CDB];
	uint8_t cdb_len;
	enum scsi_dir dir;
	uint32_t len;
	struct iovec *iov; /* len bytes in all; the unit may change the array */
	unsigned iovs;
	bool again; /* begun before: it has heard of unit attentions, and paid for its transfer */
	void *scratch;
	void (*done)(struct scsi_cmd *c);

	/* The answer. */
	uint8_t status;
	bool overrun;     /* it would have moved more than there was room for */
	uint32_t moved;   /* bytes of data */
	uint32_t touched; /* bytes of the guest's memory that may have been written */
	uint8_t sense_len;
	uint8_t sense[SCSI_SENSE];

	/* The unit's, until done. */
	struct scsi_unit *unit;
	struct scsi_medium *medium;
	struct disk_io io;
	void (*step)(struct scsi_cmd *c); /* when c->io has ended well */
	uint64_t at, end;                 /* bytes: of what is done step by step */
	uint32_t index, count;
	bool waits, unmap;
	struct scsi_cmd *next;
};

/* A command of the table that a type of unit has. */
enum {
	ROW_ATTENTION = 1, /* works while a unit attention waits */
	ROW_MEDIUM = 2,    /* needs a medium */
	ROW_WRITES = 4,    /* a medium that may be written to */
	NO_ACTION = 0xff,
};
struct scsi_row {
	uint8_t opcode;
	uint8_t action; /* service action in byte 1, or NO_ACTION */
	uint8_t len;    /* of the CDB */
	uint8_t flags;
	void (*run)(struct scsi_cmd *c);
	const char *usage; /* from byte 1: which bits are looked at */
};

/* A mode page as it is now; `changeable` has the bits that MODE SELECT may change. */
struct scsi_page {
	uint8_t page, len; /* len: of all of it */
	void (*current)(const struct scsi_unit *u, uint8_t *p);
	const uint8_t *changeable;
	void (*select)(struct scsi_unit *u, const uint8_t *p); /* may be NULL when nothing is changeable */
};

struct scsi_type {
	const struct scsi_row *rows; /* ends with run NULL */
	const struct scsi_page *pages;
	unsigned n_pages;
	const char *product; /* 16 characters */
	uint8_t device_type;
	bool removable;
	uint32_t block; /* 0: the disk's own */
	/* A page of vital product data at p (its head is made); its length without the head, 0: none. */
	unsigned (*vpd)(const struct scsi_unit *u, uint8_t page, uint8_t *p);
	const uint8_t *vpd_pages;
	unsigned n_vpd_pages;
};

extern const struct scsi_type scsi_disk_type, scsi_dvd_type;

/* u is all zero but for host, type, lun, config and medium. */
void scsi_unit_init(struct scsi_unit *u);
/* Begins a command. c->done is called once, maybe before this returns. */
void scsi_execute(struct scsi_unit *u, struct scsi_cmd *c);
/* REPORT LUNS of a target with the units in `luns` (bit n: LUN n). It needs no unit. */
void scsi_report_luns(struct scsi_cmd *c, uint64_t luns);
/* INQUIRY of a LUN that has no unit: well-formed, and says that there is none. */
void scsi_inquire_nobody(struct scsi_cmd *c);
/* Ends every command that waits and that `which` (NULL: any) picks, with SENSE_ABORTED. */
void scsi_abort_waiting(struct scsi_unit *u, bool (*which)(struct scsi_cmd *c, void *arg), void *arg);
/* Takes the commands that wait out of the unit, in order, without an answer: for the saved state's reader. */
void scsi_each_waiting(struct scsi_unit *u, void (*fn)(struct scsi_cmd *c, void *arg), void *arg);
/* Tries again what waits for space. */
void scsi_retry(struct scsi_unit *u);
/* Held: what waits goes on waiting. */
void scsi_hold(struct scsi_unit *u, bool held);
/* Resting: nothing more is given to its disk; when stats.in_flight is 0 its disk may be exchanged. */
void scsi_rest(struct scsi_unit *u, bool resting);
void scsi_set_limits(struct scsi_unit *u, uint64_t min_iops, uint64_t max_iops, uint64_t max_bytes);
/* Gives the unit another medium, or none; the old one is retired. */
void scsi_set_medium(struct scsi_unit *u, struct scsi_medium *m);
/* A DVD drive gets another medium, or none (m NULL): false when the guest has locked it, unless force. */
bool scsi_dvd_insert(struct scsi_unit *u, struct scsi_medium *m, bool force);
/* Takes the unit away from its controller: host->left when its last command has ended, maybe at once. */
void scsi_leave(struct scsi_unit *u);
/* As after a reset of the bus. */
void scsi_reset(struct scsi_unit *u);

/* For the commands themselves. Each of these ends c, which is the owner's again when they return. */
void scsi_good(struct scsi_cmd *c);
void scsi_fail(struct scsi_cmd *c, enum scsi_sense sense);
/* With the address of the block that was wrong. */
void scsi_fail_at(struct scsi_cmd *c, enum scsi_sense sense, uint64_t lba);
/* INVALID FIELD IN CDB, or in the parameter list: which byte, and its highest wrong bit. */
void scsi_fail_field(struct scsi_cmd *c, unsigned byte, unsigned bit);
void scsi_fail_list(struct scsi_cmd *c, unsigned byte, unsigned bit);
void scsi_busy(struct scsi_cmd *c);
/* The first of n bytes that the allocation length and the buffer have room for; good. */
void scsi_reply(struct scsi_cmd *c, const void *data, uint32_t n, uint32_t allocated);

/* Bytes that may be moved in a direction. */
static inline uint32_t
scsi_room(const struct scsi_cmd *c, enum scsi_dir dir)
{
	return c->dir == dir ? c->len : 0;
}
/* Copies n bytes at `off` of what the guest sends: false when there are fewer. */
bool scsi_take(const struct scsi_cmd *c, uint32_t off, void *buf, uint32_t n);
/* The most important unit attention, which is told once; SENSE_NONE. */
enum scsi_sense scsi_take_attention(struct scsi_unit *u);
uint32_t scsi_block(const struct scsi_unit *u);  /* bytes; of an empty drive, too */
uint64_t scsi_blocks(const struct scsi_unit *u); /* of the medium; 0: none */

/* scsi_io.c: */
/* Begins c->io, which is filled but for done; c->step follows unless it fails. Waits for the unit's limits if
 * this is the command's first transfer. */
void scsi_begin(struct scsi_cmd *c, void (*step)(struct scsi_cmd *c));
void scsi_read(struct scsi_cmd *c);
void scsi_write(struct scsi_cmd *c);
void scsi_write_verify(struct scsi_cmd *c);
void scsi_verify(struct scsi_cmd *c);
void scsi_synchronize(struct scsi_cmd *c);
void scsi_synchronize_all(struct scsi_cmd *c);
/* scsi_thin.c: */
void scsi_write_same(struct scsi_cmd *c);
void scsi_unmap(struct scsi_cmd *c);
/* Whether the guest may give blocks up; and counts on it that they read zero then. There is a medium. */
bool scsi_can_discard(const struct scsi_unit *u);
bool scsi_discard_zeroes(const struct scsi_unit *u);
/* The blocks that a CDB of 6, 10, 12 or 16 bytes names; false, and c has ended, when some do not exist. */
bool scsi_extent(struct scsi_cmd *c, uint64_t *lba, uint32_t *blocks);

/* scsi_common.c: */
void scsi_inquiry(struct scsi_cmd *c);
void scsi_test_ready(struct scsi_cmd *c);
void scsi_request_sense(struct scsi_cmd *c);
void scsi_nothing(struct scsi_cmd *c); /* good, whatever is asked */
void scsi_report_opcodes(struct scsi_cmd *c);
void scsi_read_capacity10(struct scsi_cmd *c);
/* scsi_mode.c: */
void scsi_mode_sense(struct scsi_cmd *c);
void scsi_mode_select(struct scsi_cmd *c);

#endif
