/* tests/fuzz/vhdx_fuzz.c - hostile VHDX images, logs too: looked at, checked, mended, changed, written to;
 * see disk_image.h. */
#include <errno.h>

#include "tests/fuzz/disk_image.h"

enum { KIB = 1 << 10, MIB = 1 << 20, SECTOR = 4096, ENTRY_MOST = 64 * KIB };

/* CRC-32C by the processor's instruction, which every x86-64 since 2008 has. */
__attribute__((target("sse4.2"))) static uint32_t
crc(const uint8_t *p, size_t len)
{
	uint64_t c = UINT32_MAX, v;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	return ~(uint32_t)c;
}

static void
sum(struct disk_file *f, uint64_t at, size_t len)
{
	static uint8_t raw[64 * KIB];
	uint32_t v;

	if (len > sizeof(raw) || file_get(f, raw, len, at, NULL) < 0)
		return;
	memset(raw + 4, 0, 4);
	v = crc(raw, len);
	file_put(f, &v, sizeof(v), at + 4, NULL);
}

/* The entries of the log that lies where most images have it. */
static void
sum_log(struct disk_file *f)
{
	for (uint64_t at = MIB; at < 2 * MIB; at += SECTOR) {
		uint32_t head[3];

		if (file_get(f, head, sizeof(head), at, NULL) < 0)
			return;
		if (head[0] == 0x65676f6c && head[2] && head[2] % SECTOR == 0 && head[2] <= ENTRY_MOST)
			sum(f, at, head[2]); /* "loge" */
	}
}

static void
mend(struct memory_host *h, unsigned number)
{
	struct disk_file *f = memory_open(h, number, false);

	sum(f, 64 * KIB, SECTOR);
	sum(f, 128 * KIB, SECTOR);
	sum(f, 192 * KIB, 64 * KIB);
	sum(f, 256 * KIB, 64 * KIB);
	sum_log(f);
	file_free(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_image(&disk_vhdx_format, mend, data, size);
}
