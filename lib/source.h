/*
 * lib/source.h - where a peer comes from, as those see it who count.
 */
#ifndef LIB_SOURCE_H
#define LIB_SOURCE_H

enum { SOURCE_NETWORK_SIZE = 64 };

/* What counts as one source: of an IPv6 address its first 64 bits, since the rest is its owner's to choose;
 * any other text as it is, cut if it is too long. */
void source_network(const char *source, char out[SOURCE_NETWORK_SIZE]);

#endif
