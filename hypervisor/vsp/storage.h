/*
 * hypervisor/vsp/storage.h - the synthetic SCSI controller: a VMBus device that speaks the storage protocol
 * (vstor) with the guest's driver and gives its commands to up to 64 units (scsi.h).
 *
 * Threads. The functions here are the control thread's; packets and commands run on the controller's I/O
 * loop. What the control thread changes (a unit comes or goes, a medium changes), it does through
 * io_loop_call.
 */
#ifndef HYPERVISOR_VSP_STORAGE_H
#define HYPERVISOR_VSP_STORAGE_H

#include "hypervisor/core/io_loop.h"
#include "hypervisor/disk/disk.h"
#include "hypervisor/vmbus/bus.h"

enum { STORAGE_UNITS = 64, STORAGE_SERIAL = 32 };

struct storage;

enum unit_kind { UNIT_DISK, UNIT_DVD };

struct unit_config {
	enum unit_kind kind;
	char serial[STORAGE_SERIAL +
		    1];  /* VPD page 0x80; empty: derived from the machine's id, controller and LUN */
	uint8_t wwn[16]; /* NAA 6: VPD page 0x83 */
	/* 0: no limit. In normalized requests of 8 KiB as Hyper-V counts them, and bytes a second. */
	uint64_t min_iops, max_iops, max_bytes;
	bool pause_on_full; /* no space below: the machine pauses, and tries again when it goes on; else the
			       guest sees an error */
};

/* What a controller tells the worker, from its I/O thread: must not block. */
struct storage_events {
	void *ctx;
	/* Something is to be done on the control thread: it should call storage_work soon. */
	void (*work)(void *ctx);
	/* A write found no space below. The request waits for storage_retry; the machine should be paused. */
	void (*full)(void *ctx, unsigned controller, unsigned lun, int error);
	/* The guest locked or ejected a medium, min_iops is not reached, an I/O error below (rate limited by
	 * the callee). */
	void (*ejected)(void *ctx, unsigned controller, unsigned lun);
	void (*slow)(void *ctx, unsigned controller, unsigned lun, uint64_t iops);
	void (*failed)(
	    void *ctx, unsigned controller, unsigned lun, enum disk_op op, uint64_t offset, int error);
};

/* Offers nothing yet. loop: started or not. `name`/number for messages and GUIDs derived from machine_id. */
int storage_new(struct storage **out, struct vmbus *bus, struct io_loop *loop, unsigned number,
    const uint8_t machine_id[16], const struct storage_events *events, struct err *e);
/* Before the guest runs, or while it runs: the guest is told to look (ENUMERATE_BUS). Takes over d; NULL for
 * an empty DVD drive. -EEXIST: the LUN is taken. */
int storage_add(struct storage *s, unsigned lun, const struct unit_config *c, struct disk *d, struct err *e);
/* The unit disappears for the guest at once; its requests in flight end as they end. `gone` when the last
 * has, after which the disk has been freed. -ENOENT. */
int storage_remove(struct storage *s, unsigned lun, void (*gone)(void *ctx), void *ctx, struct err *e);
/* DVD: another medium, or none (d NULL). -EBUSY when the guest has locked the drive, unless force. The old
 * medium is freed when its requests have ended; d is taken over on success only. */
int storage_insert(struct storage *s, unsigned lun, struct disk *d, bool force, struct err *e);
int storage_set_limits(struct storage *s, unsigned lun, const struct unit_config *c, struct err *e);
/* The disk's size has changed (resized by its owner): the guest is told (unit attention). */
int storage_resized(struct storage *s, unsigned lun, uint64_t size, struct err *e);

/*
 * Another disk under a unit, unseen by its guest. storage_rest: what the guest asks of this unit waits;
 * returns when nothing is in flight below, with the unit's disk, which may then be worked on (-EBUSY with
 * words after `timeout_ms`: it then goes on. -ENOENT: no unit, or an empty drive). Until storage_go_on, its
 * disk may be exchanged, by one that is to the guest what the old one was (-EINVAL with words: it stays); the
 * old one is the caller's then. The guest does not come and go meanwhile: no other function here, no reset
 * of the machine, between the two.
 */
int storage_rest(struct storage *s, unsigned lun, unsigned timeout_ms, struct disk **d, struct err *e);
int storage_exchange(struct storage *s, unsigned lun, struct disk *d, struct err *e);
void storage_go_on(struct storage *s, unsigned lun);

/* Stops taking packets; returns when no request is in flight below (-EBUSY with words after `timeout_ms`: it
 * then goes on). Requests that wait (throttled, no space) stay waiting and are part of the saved state. For
 * save. */
int storage_pause(struct storage *s, unsigned timeout_ms, struct err *e);
void storage_resume(struct storage *s);
/* Tries again what waits for space. When the machine goes on. */
void storage_retry(struct storage *s);

struct unit_stats {
	uint64_t reads, writes, read_bytes, written_bytes, flushes, discards, errors, throttled;
	unsigned in_flight, waiting;
};
/* -ENOENT when there is no such unit. */
int storage_statistics(struct storage *s, unsigned lun, struct unit_stats *st);
struct vmbus_device *storage_device(struct storage *s);
/* Protocol version the guest has agreed on (major << 8 | minor), 0 before. */
unsigned storage_version(const struct storage *s);
/* Control thread, after events.work: closed channels, units that are gone, channels that broke. */
void storage_work(struct storage *s);
/* After vmbus_free, or when the bus has let go of the device; the loop does not run any more. */
void storage_free(struct storage *s);

#endif
