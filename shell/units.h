/*
 * shell/units.h - numbers as people write and read them: "2G", "1h30m", "512 MiB", "3d 4h".
 *
 * The unit is the schema's "x-unit": sizes (bytes, KiB, MiB, GiB, TiB) and times (ms, s, min, h, days).
 * K, M, G, T are powers of 1024, whatever follows them (2G, 2GB, 2GiB are the same), as in PowerShell.
 */
#ifndef SHELL_UNITS_H
#define SHELL_UNITS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { UNIT_TEXT = 32 };

/* text as a whole number of unit; "" or an unknown unit: a plain integer. On false, why says what is wrong.
 */
bool unit_parse(const char *text, const char *unit, json_int_t *out, char *why, size_t size);
/* For tables: "2 GiB", "1.5 GiB", "3d 4h", "250 ms"; an unknown unit stands behind the number. */
void unit_format(json_int_t n, const char *unit, char out[UNIT_TEXT]);
/* Bytes in at most 10 characters: "1.2 GiB". */
void unit_bytes(double bytes, char out[UNIT_TEXT]);
/* Seconds, the two greatest parts: "3d 4h", "12m 5s", "0s". */
void unit_seconds(double seconds, char out[UNIT_TEXT]);

#endif
