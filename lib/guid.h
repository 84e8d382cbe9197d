/*
 * lib/guid.h - GUIDs as people write them. The bytes are kept in the order written; whoever needs the
 * mixed order of a Microsoft structure swaps them there.
 */
#ifndef LIB_GUID_H
#define LIB_GUID_H

#include <stdbool.h>
#include <stdint.h>

enum { GUID_BYTES = 16, GUID_TEXT = 36 };

/* "01234567-89ab-cdef-0123-456789abcdef", either case, nothing before or after it. */
bool guid_parse(const char *text, uint8_t guid[GUID_BYTES]);
/* In lower case, terminated. */
void guid_format(const uint8_t guid[GUID_BYTES], char text[GUID_TEXT + 1]);

#endif
