/*
 * tests/fuzz/vmbus.h - what the targets of the bus share: an input that is a list of actions, each a byte and
 * what it needs; missing bytes count as zero. Guest memory is made once and wiped between inputs.
 */
#ifndef TESTS_FUZZ_VMBUS_H
#define TESTS_FUZZ_VMBUS_H

#include "lib/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_vmbus_device.h"

enum { FUZZ_PAGES = 256, FUZZ_VPS = 3 };

struct actions {
	const uint8_t *p;
	size_t n;
};

static inline uint8_t
take8(struct actions *a)
{
	if (a->n == 0)
		return 0;
	a->n--;
	return *a->p++;
}

static inline uint32_t
take16(struct actions *a)
{
	uint32_t low = take8(a);

	return low | (uint32_t)take8(a) << 8;
}

static inline uint32_t
take32(struct actions *a)
{
	uint32_t low = take16(a);

	return low | take16(a) << 16;
}

/* A number that is more often near something than not. */
static inline uint32_t
take_number(struct actions *a)
{
	uint8_t b = take8(a);

	if (b < 0xf0)
		return b & 0x3f;
	return b < 0xf8 ? take32(a) : (uint32_t)(b - 0x100);
}

/* Nothing is logged: it would be the same lines a million times. */
static inline void
fuzz_quiet(void)
{
	log_open("fuzz", STDERR_FILENO, LOG_ERROR);
}

static inline void
fuzz_wipe(struct fake_vmbus *f)
{
	must(gmem_zero(f->mem, 0, FUZZ_PAGES * GMEM_PAGE) == 0);
	memset(f->slot, 0, sizeof(f->slot));
	memset(f->deaf, 0, sizeof(f->deaf));
	memset(f->flag, 0, sizeof(f->flag));
	f->first = f->last = 0;
	f->retry_ms = 0;
	f->bind_error = 0;
	f->next_page = FAKE_FIRST_PAGE;
	f->next_gpadl = 1;
	f->version = 0;
	f->connection = CONNECTION_MESSAGE;
}

#endif
