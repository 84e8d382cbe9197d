/*
 * tests/disk/pages.h - the content of a file in memory: sparse, and copied for nothing. What was never
 * written costs nothing; a copy shares all pages until one of the two changes.
 */
#ifndef TESTS_DISK_PAGES_H
#define TESTS_DISK_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_BYTES = 4096 };
#define PAGES_END (1ull << 48) /* bytes: no content lies behind it */

struct pages {
	struct pages_node *root; /* NULL: nothing but a hole */
};

void pages_read(const struct pages *p, uint64_t off, void *buf, size_t len);
void pages_write(struct pages *p, uint64_t off, const void *buf, size_t len);
/* Reads zero; whole pages become a hole. */
void pages_clear(struct pages *p, uint64_t off, uint64_t len);
/* The first byte at or behind off that is in a page (data) or in none; PAGES_END if there is none. */
uint64_t pages_seek(const struct pages *p, uint64_t off, bool data);

struct pages pages_copy(const struct pages *p);
void pages_free(struct pages *p);
/* Pages that exist, all contents of the process together: for tests of what is not freed. */
uint64_t pages_alive(void);

#endif
