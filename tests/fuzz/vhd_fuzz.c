/* tests/fuzz/vhd_fuzz.c - hostile VHD images: looked at, checked, mended, changed, written to; see
 * disk_image.h. */
#include <errno.h>

#include "tests/fuzz/disk_image.h"

enum { FOOTER = 512, HEADER = 1024 };

static void
sum(struct disk_file *f, uint64_t at, size_t len, size_t field)
{
	uint8_t raw[HEADER];
	uint32_t total = 0;

	if (file_get(f, raw, len, at, NULL) < 0)
		return;
	memset(raw + field, 0, 4);
	for (size_t i = 0; i < len; i++)
		total += raw[i];
	for (size_t i = 0; i < 4; i++)
		raw[field + i] = (uint8_t)(~total >> (24 - 8 * i));
	file_put(f, raw, len, at, NULL);
}

static void
mend(struct memory_host *h, unsigned number)
{
	struct disk_file *f = memory_open(h, number, false);
	uint8_t at[8] = { 0 };
	uint64_t size, header = 0;

	if (file_size(f, &size, NULL) == 0 && size >= FOOTER &&
	    file_get(f, at, 8, size - FOOTER + 16, NULL) == 0) {
		for (unsigned i = 0; i < 8; i++)
			header = header << 8 | at[i];
		sum(f, size - FOOTER, FOOTER, 64);
		sum(f, 0, FOOTER, 64);
		if (header >= FOOTER && header < size)
			sum(f, header, HEADER, 36);
		if (header != FOOTER)
			sum(f, FOOTER, HEADER, 36); /* where it is if the copy is taken */
	}
	file_free(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_image(&disk_vhd_format, mend, data, size);
}
