/*
 * hypervisor/vsp/bytes.h - integers in packets and commands: little-endian in VMBus protocols, big-endian in
 * SCSI; never aligned.
 */
#ifndef HYPERVISOR_VSP_BYTES_H
#define HYPERVISOR_VSP_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define GETTER(name, type, order)                    \
	static inline type get_##name(const void *p) \
	{                                            \
		type v;                              \
                                                     \
		memcpy(&v, p, sizeof(v));            \
		return order##toh(v);                \
	}
#define PUTTER(name, type, order)                      \
	static inline void put_##name(void *p, type v) \
	{                                              \
		type o = hto##order(v);                \
                                                       \
		memcpy(p, &o, sizeof(o));              \
	}

GETTER(be16, uint16_t, be16)
GETTER(be32, uint32_t, be32)
GETTER(be64, uint64_t, be64)
GETTER(le16, uint16_t, le16)
GETTER(le32, uint32_t, le32)
GETTER(le64, uint64_t, le64)
PUTTER(be16, uint16_t, be16)
PUTTER(be32, uint32_t, be32)
PUTTER(be64, uint64_t, be64)
PUTTER(le16, uint16_t, le16)
PUTTER(le32, uint32_t, le32)
PUTTER(le64, uint64_t, le64)

#undef GETTER
#undef PUTTER

#endif
