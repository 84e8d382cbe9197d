/*
 * hypervisor/disk/vhdx_crc.c - CRC-32C (Castagnoli), which VHDX puts over headers, region tables and log
 * entries.
 */
#include <nmmintrin.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

static uint32_t
by_table(uint32_t crc, const uint8_t *p, size_t n)
{
	static uint32_t table[256];

	/* Made when it is first used. Threads that meet here write the same values; the last one is the sign.
	 */
	if (!__atomic_load_n(&table[255], __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (unsigned bit = 0; bit < 8; bit++)
				c = c >> 1 ^ (c & 1 ? POLYNOMIAL : 0);
			__atomic_store_n(&table[i], c, __ATOMIC_RELEASE);
		}
	}
	while (n--)
		crc = crc >> 8 ^ __atomic_load_n(&table[(crc ^ *p++) & 255], __ATOMIC_RELAXED);
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t
by_processor(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc, word;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		c = _mm_crc32_u64(c, word);
	}
	crc = (uint32_t)c;
	while (n--)
		crc = _mm_crc32_u8(crc, *p++);
	return crc;
}

uint32_t
vhdx_crc_part(uint32_t crc, const void *p, size_t n)
{
	return __builtin_cpu_supports("sse4.2") ? by_processor(crc, p, n) : by_table(crc, p, n);
}

uint32_t
vhdx_crc(const void *p, size_t n, size_t field)
{
	static const uint8_t none[4];
	uint32_t crc = vhdx_crc_part(UINT32_MAX, p, field);

	crc = vhdx_crc_part(crc, none, sizeof(none));
	return ~vhdx_crc_part(crc, (const uint8_t *)p + field + sizeof(none), n - field - sizeof(none));
}
