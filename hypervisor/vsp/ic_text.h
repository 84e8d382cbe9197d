/* hypervisor/vsp/ic_text.h - texts of integration components: UTF-16 in the guest's packets, clean UTF-8
 * here. */
#ifndef HYPERVISOR_VSP_IC_TEXT_H
#define HYPERVISOR_VSP_IC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Up to `units` units of little-endian UTF-16 at p, or up to the zero among them. What is no character, or
 * none that clean text may have (lib/text.h), becomes '?'. What does not fit into `size` bytes, final zero
 * included, is left out, by whole characters: three bytes a unit are enough. */
void ic_text_get(const uint8_t *p, size_t units, char *out, size_t size);
/* Clean UTF-8 into `units` units, the rest zero, the last one always. False when it does not fit. *used (may
 * be NULL): bytes with one final zero. */
bool ic_text_put(const char *text, uint8_t *p, size_t units, size_t *used);

#endif
