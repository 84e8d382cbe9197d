/*
 * hypervisor/vmbus/wire.h - what goes over the bus: messages, rings and packets, byte for byte.
 *
 * All integers are little-endian, as is every machine this runs on. Sizes are checked below, because a guest
 * drops a message that is a byte too short, and then waits for ever.
 */
#ifndef HYPERVISOR_VMBUS_WIRE_H
#define HYPERVISOR_VMBUS_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Connections (ids of hypercalls) that a guest may use before anything is agreed on. */
enum {
	CONNECTION_MESSAGE = 1, /* messages, protocols below 5.0 */
	CONNECTION_EVENT = 2,   /* "look into the interrupt page", protocols below 2.4 */
	CONNECTION_MESSAGE_NEW = 4,
	CONNECTION_CHANNEL = 0x2000, /* | relid: signals of one channel */
};

/* Statuses of HvPostMessage. */
enum {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_INVALID_CONNECTION_ID = 18,
	HV_STATUS_INSUFFICIENT_BUFFERS = 19,
};

enum { MESSAGE_TYPE_VMBUS = 1 }; /* of the SynIC message around a bus message */

/* Protocol versions: major << 16 | minor. */
enum {
	VMBUS_0_13 = 0x0000000d,
	VMBUS_1_1 = 0x00010001,
	VMBUS_2_4 = 0x00020004,
	VMBUS_3_0 = 0x00030000,
	VMBUS_4_0 = 0x00040000,
	VMBUS_4_1 = 0x00040001,
	VMBUS_5_0 = 0x00050000,
	VMBUS_5_1 = 0x00050001,
	VMBUS_5_2 = 0x00050002,
	VMBUS_5_3 = 0x00050003,
	VMBUS_6_0 = 0x00060000, /* not spoken */
};

enum wire_type {
	WIRE_OFFER = 1,
	WIRE_RESCIND = 2,
	WIRE_REQUEST_OFFERS = 3,
	WIRE_ALL_OFFERS = 4,
	WIRE_OPEN = 5,
	WIRE_OPEN_RESULT = 6,
	WIRE_CLOSE = 7,
	WIRE_GPADL_HEADER = 8,
	WIRE_GPADL_BODY = 9,
	WIRE_GPADL_CREATED = 10,
	WIRE_GPADL_TEARDOWN = 11,
	WIRE_GPADL_TORNDOWN = 12,
	WIRE_RELID_RELEASED = 13,
	WIRE_CONTACT = 14,
	WIRE_VERSION_RESPONSE = 15,
	WIRE_UNLOAD = 16,
	WIRE_UNLOADED = 17,
	WIRE_TL_CONNECT = 21,
	WIRE_MODIFY = 22,
	WIRE_TL_RESULT = 23,
	WIRE_MODIFY_RESULT = 24,
	WIRE_TYPES = 30, /* above the last of any version */
};

/* In results; a guest asks for no more than "not 0", but Windows shows it. */
#define WIRE_STATUS_OK           0u
#define WIRE_STATUS_FAILED       0xc0000001u
#define WIRE_STATUS_PARAMETER    0xc000000du
#define WIRE_STATUS_NO_RESOURCES 0xc000009au
#define WIRE_STATUS_REFUSED      0xc0000236u /* connection refused */

enum {
	OFFER_ENUMERATE = 0x1,
	OFFER_PIPE = 0x10,
	OFFER_LOOPBACK = 0x100,
	OFFER_PARENT = 0x200,
	OFFER_MONITORED = 0x400,
	OFFER_HV_SOCK = 0x2000,
};

#define WIRE __attribute__((packed))

struct wire_head {
	uint32_t type, padding;
} WIRE;

struct wire_offer {
	struct wire_head head;
	uint8_t type[16], instance[16]; /* GUIDs in Microsoft's order */
	uint8_t reserved[16];
	uint16_t flags, mmio_mb;
	uint8_t user[120];
	uint16_t index; /* of a sub-channel; 0: primary */
	uint16_t mmio_optional_mb;
	uint32_t relid;
	uint8_t monitor_id, monitored;
	uint16_t dedicated; /* bit 0: signals come by event flag `relid`, and go to `connection` */
	uint32_t connection;
} WIRE;

struct wire_relid { /* RESCIND, CLOSE, RELID_RELEASED */
	struct wire_head head;
	uint32_t relid;
} WIRE;

struct wire_open {
	struct wire_head head;
	uint32_t relid, open_id, gpadl, target_vp, downstream;
	uint8_t user[120];
} WIRE;

struct wire_open_result {
	struct wire_head head;
	uint32_t relid, open_id, status;
} WIRE;

struct wire_gpadl_header {
	struct wire_head head;
	uint32_t relid, gpadl;
	uint16_t range_bytes, ranges;
	uint32_t len, offset; /* of the one range: bytes, and where they begin in its first page */
			      /* page numbers follow, 8 bytes each, at an odd multiple of 4 */
} WIRE;

struct wire_gpadl_body {
	struct wire_head head;
	uint32_t number, gpadl;
	/* page numbers follow */
} WIRE;

struct wire_gpadl_created {
	struct wire_head head;
	uint32_t relid, gpadl, status;
} WIRE;

struct wire_gpadl_teardown {
	struct wire_head head;
	uint32_t relid, gpadl;
} WIRE;

struct wire_gpadl_torndown {
	struct wire_head head;
	uint32_t gpadl;
} WIRE;

struct wire_contact {
	struct wire_head head;
	uint32_t version, target_vp;
	union {
		uint64_t interrupt_page; /* below 2.4 */
		struct {
			uint8_t sint, vtl; /* from 5.0 on */
			uint16_t reserved;
			uint32_t features;
		} target;
	};
	uint64_t monitor_page[2];
} WIRE;

struct wire_version_response {
	struct wire_head head;
	uint8_t supported, state;
	uint16_t padding;
	uint32_t connection; /* from 5.0 on: where to post messages; else the version */
} WIRE;

struct wire_tl_connect {
	struct wire_head head;
	uint8_t endpoint[16], service[16];
} WIRE;

struct wire_tl_result {
	struct wire_head head;
	uint8_t endpoint[16], service[16];
	uint32_t status;
} WIRE;

struct wire_modify {
	struct wire_head head;
	uint32_t relid, target_vp;
} WIRE;

struct wire_modify_result {
	struct wire_head head;
	uint32_t relid, status;
} WIRE;

#undef WIRE

enum { TARGET_NOBODY = -1 }; /* target_vp: no interrupts are wanted */

_Static_assert(sizeof(struct wire_head) == 8, "head");
_Static_assert(sizeof(struct wire_offer) == 196, "offer");
_Static_assert(offsetof(struct wire_offer, flags) == 56, "offer");
_Static_assert(offsetof(struct wire_offer, user) == 60, "offer");
_Static_assert(offsetof(struct wire_offer, index) == 180, "offer");
_Static_assert(offsetof(struct wire_offer, relid) == 184, "offer");
_Static_assert(offsetof(struct wire_offer, dedicated) == 190, "offer");
_Static_assert(sizeof(struct wire_relid) == 12, "rescind, close, released");
_Static_assert(sizeof(struct wire_open) == 148, "open");
_Static_assert(offsetof(struct wire_open, user) == 28, "open");
_Static_assert(sizeof(struct wire_open_result) == 20, "open result");
_Static_assert(sizeof(struct wire_gpadl_header) == 28, "gpadl header");
_Static_assert(sizeof(struct wire_gpadl_body) == 16, "gpadl body");
_Static_assert(sizeof(struct wire_gpadl_created) == 20, "gpadl created");
_Static_assert(sizeof(struct wire_gpadl_teardown) == 16, "gpadl teardown");
_Static_assert(sizeof(struct wire_gpadl_torndown) == 12, "gpadl torndown");
_Static_assert(sizeof(struct wire_contact) == 40, "initiate contact");
_Static_assert(offsetof(struct wire_contact, monitor_page) == 24, "initiate contact");
_Static_assert(sizeof(struct wire_version_response) == 16, "version response");
_Static_assert(sizeof(struct wire_tl_connect) == 40, "tl connect");
_Static_assert(sizeof(struct wire_tl_result) == 44, "tl result");
_Static_assert(sizeof(struct wire_modify) == 16, "modify");
_Static_assert(sizeof(struct wire_modify_result) == 16, "modify result");

/* Interrupt page, protocols below 2.4: a bit a relid, guest-bound in the first half, host-bound in the
 * second. */
enum { INTERRUPT_PAGE_TO_HOST = 2048 };

/* The control page of a ring; data pages follow it. */
struct ring_control {
	uint32_t write_index;  /* the writer's */
	uint32_t read_index;   /* the reader's, as are all below but pending_send */
	uint32_t mask;         /* 1: no signals, please */
	uint32_t pending_send; /* the writer's: it waits for more than so many free bytes */
	uint32_t reserved[12];
	uint32_t features; /* bit 0: pending_send is honoured */
};
_Static_assert(offsetof(struct ring_control, features) == 64, "ring control page");
enum { RING_FEATURE_PENDING_SEND = 1 };

/* A packet: this head, then what else belongs to its kind, payload, zeros to the next 8 bytes, trailer. */
struct packet_head {
	uint16_t type;
	uint16_t offset8, len8; /* of the payload, and of all but the trailer: in units of 8 bytes */
	uint16_t flags;
	uint64_t transaction;
};
_Static_assert(sizeof(struct packet_head) == 16, "packet head");
enum { PACKET_TRAILER = 8 };

/* Behind the head of a PACKET_GPA_DIRECT, before the ranges {u32 len, u32 offset, u64 page[]}. */
struct packet_ranges_head {
	uint32_t reserved, count;
};
enum { PACKET_RANGE_HEAD = 8 };

#endif
