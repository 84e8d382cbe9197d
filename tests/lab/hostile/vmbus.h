/*
 * tests/lab/hostile/vmbus.h - the hostile kernel on VMBus: vmbus.c has the connection, channels, rings and
 * lent memory; devices.c what each kind of device is told.
 *
 * Each is spoken to as its driver does, or no device would get past its first message; then less and less so.
 * The first processor speaks. The second rewrites what the host is reading.
 */
#ifndef TESTS_LAB_HOSTILE_VMBUS_H
#define TESTS_LAB_HOSTILE_VMBUS_H

#include "tests/lab/hostile/kernel.h"

/* All of it within scratch, where everything else writes to, as well. */
enum {
	POST = 0x01500000,     /* a page for each processor */
	MESSAGES = 0x01600000, /* the SynIC's two pages */
	EVENTS = 0x01601000,
	RINGS = 0x01800000, /* RING_PAGES for each channel, one half a direction */
	RING_PAGES = 16,
	RING_BYTES = (RING_PAGES / 2 - 1) * 4096, /* of data, a direction */
	RECEIVE = 0x01a00000,                     /* what the network adapter is lent */
	RECEIVE_PAGES = 64,
	SENDS = 0x01b00000,
	SEND_PAGES = 32,
	DATA = 0x01c00000, /* what packets name */
	DATA_PAGES = 256,
	GIVEN = 0x02000000, /* what goes into the balloon */
	GIVEN_PAGES = 0x1000,
};

enum kind { STORAGE, NETWORK, BALLOON, HEARTBEAT, SHUTDOWN, TIME, FACTS, FREEZING, COPYING, STREAM, KINDS };

struct channel {
	uint32_t relid; /* 0: none */
	enum kind kind;
	bool primary, waiting, open; /* waiting: for the answer to its opening */
	uint32_t gpadl;              /* of its rings */
	uint32_t put_at, take_at;
};

enum { INBAND = 6, XFER_PAGES = 7, DIRECT = 9, COMPLETION = 11, PACKET_WORDS = 4200 };

/* A packet, without its head. */
struct packet {
	unsigned type, wants_reply;
	uint32_t transaction[2];
	unsigned head; /* how many of its words are addresses, before its payload */
	unsigned words;
	uint32_t word[PACKET_WORDS];
};

/* The next packet to put: there is only one at a time. */
struct packet *packet_new(struct cpu *c, unsigned type);
void packet_add(struct packet *p, uint32_t word);
/* One of so many pages. */
void packet_range(struct packet *p, uint32_t len, uint32_t offset, const uint32_t *pages, unsigned n);
/* Into the channel's ring, if it has room: as it is, or with words that are something else. */
void packet_put(struct cpu *c, struct channel *ch, struct packet *p);
/* Lends so many pages; the number of the loan. */
uint32_t lend(struct cpu *c, const struct channel *ch, uint32_t address, unsigned pages);

struct device {
	uint32_t class;                                   /* its class begins with this */
	void (*greet)(struct cpu *c, struct channel *ch); /* as a driver does it */
	void (*talk)(struct cpu *c, struct channel *ch);  /* one packet, or a few */
	/* What the host has sent; may be changed, and put. */
	void (*hear)(struct cpu *c, struct channel *ch, struct packet *p);
};
extern const struct device devices[KINDS];

/* One thing that the first processor does. */
void bus_step(struct cpu *c);
/* And the second. */
void bus_scribble(struct cpu *c);
/* "HK-BUS REWRITTEN PUT TAKEN PUT TAKEN ...": since the last time, words of shared memory that were
 * rewritten, and for each kind of device packets put into rings of open channels, and taken from them. */
void bus_report(void);

#endif
