/*
 * tests/fuzz/snap_fuzz.c - saved fields: the input is a list of fields and, behind it, the bytes to
 * restore them from. What is accepted must be written back as the same bytes.
 */
#include "hypervisor/state/snap.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { FIELDS_MAX = 16, STATE_MAX = 512 };

struct field_kind {
	uint8_t kind;
	uint64_t max;
	union {
		bool b;
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
		uint8_t bytes[32];
	} v;
};

static void
snap_field(struct snap *s, struct field_kind *f)
{
	switch (f->kind % 6) {
	case 0:
		snap_bool(s, "bool", &f->v.b);
		break;
	case 1:
		snap_u8(s, "u8", &f->v.u8, (uint8_t)f->max);
		break;
	case 2:
		snap_u16(s, "u16", &f->v.u16, (uint16_t)f->max);
		break;
	case 3:
		snap_u32(s, "u32", &f->v.u32, (uint32_t)f->max);
		break;
	case 4:
		snap_u64(s, "u64", &f->v.u64, f->max);
		break;
	default:
		snap_bytes(s, "bytes", f->v.bytes, f->max % sizeof(f->v.bytes));
		snap_check(s, f->v.bytes[0] != 0xff, "bytes", "begin with ff");
	}
}

/* A count, then two bytes a field: its kind, and its limit as ones. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct field_kind field[FIELDS_MAX];
	uint8_t buf[STATE_MAX], again[STATE_MAX];
	size_t n = size ? data[0] % FIELDS_MAX : 0, used = 1 + 2 * n;
	struct snap s;

	if (size < used || size - used > sizeof(buf))
		return 0;
	memset(field, 0, sizeof(field));
	for (size_t i = 0; i < n; i++) {
		field[i].kind = data[1 + 2 * i];
		field[i].max = UINT64_MAX >> data[2 + 2 * i] % 64;
	}
	memcpy(buf, data + used, size - used);
	snap_restore_from(&s, buf, size - used);
	for (size_t i = 0; i < n; i++)
		snap_field(&s, &field[i]);
	if (snap_end(&s)) {
		must(s.err.msg[0] && s.rc == -s.err.code);
		return 0;
	}
	/* Room for exactly that much, then for one byte less. */
	snap_save_to(&s, again, size - used);
	for (size_t i = 0; i < n; i++)
		snap_field(&s, &field[i]);
	must(snap_end(&s) == 0 && s.pos == size - used && memcmp(buf, again, s.pos) == 0);
	if (size == used)
		return 0;
	snap_save_to(&s, again, size - used - 1);
	for (size_t i = 0; i < n; i++)
		snap_field(&s, &field[i]);
	must(snap_end(&s) < 0);
	return 0;
}
