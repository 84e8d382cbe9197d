/*
 * hypervisor/state/snap.h - saving and restoring: one list of fields for both directions.
 *
 * A device names each guest-visible field once, in a function that is run to save and to restore.
 * What is read back is as untrusted as the guest: each field states its largest legal value, and the
 * first bad one fails the whole (later calls do nothing). A value above its limit also fails a save,
 * since it could not be read back. A failed restore leaves the object in an unspecified but
 * destroyable state; the caller drops it.
 *
 * Format: little-endian, no padding, in the order of the calls. Sections frame it (state/stream.h).
 */
#ifndef HYPERVISOR_STATE_SNAP_H
#define HYPERVISOR_STATE_SNAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

struct snap {
	bool saving;
	uint8_t *buf;
	size_t len; /* bytes in buf: capacity when saving, content when restoring */
	size_t pos;
	int rc; /* 0, or the first failure: -EINVAL (bad value), -ENOSPC (no room to save) */
	struct err err;
};

void snap_save_to(struct snap *s, void *buf, size_t cap);
void snap_restore_from(struct snap *s, const void *buf, size_t len);
/* 0 when all went well; when restoring, also every byte must have been used. Returns s->rc. */
int snap_end(struct snap *s);

void snap_bool(struct snap *s, const char *name, bool *v);
void snap_u8(struct snap *s, const char *name, uint8_t *v, uint8_t max);
void snap_u16(struct snap *s, const char *name, uint16_t *v, uint16_t max);
void snap_u32(struct snap *s, const char *name, uint32_t *v, uint32_t max);
void snap_u64(struct snap *s, const char *name, uint64_t *v, uint64_t max);
void snap_bytes(struct snap *s, const char *name, void *v, size_t len);
/* For rules between fields: when restoring and !ok, fails with "name: why". */
void snap_check(struct snap *s, bool ok, const char *name, const char *why);

#endif
