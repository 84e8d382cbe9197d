/*
 * lib/text.h - text that may have been written by a stranger, made fit for a log, a terminal or JSON.
 *
 * Clean text is UTF-8 without control characters: neither C0 (an embedded newline would forge a log
 * line), nor DEL, nor C1 (some terminals obey those too).
 */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

bool text_is_clean(const char *s, size_t len);
/* Replaces every byte of s that is not part of clean text by '?', in place. */
void text_clean(char *s);
/* A copy that fits: what is too long loses its end. Always terminated; size is at least 1. */
void text_copy(char *out, size_t size, const char *s);

#endif
