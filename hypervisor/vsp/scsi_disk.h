/*
 * hypervisor/vsp/scsi_disk.h - what a disk promises in its block limits, and its commands keep to.
 */
#ifndef HYPERVISOR_VSP_SCSI_DISK_H
#define HYPERVISOR_VSP_SCSI_DISK_H

#include <stdint.h>

/* Bytes, but for descriptors. */
#define DISK_MAX_UNMAP (UINT64_C(4) << 30)
#define DISK_MAX_SAME  (UINT64_C(128) << 20)
enum { DISK_MAX_DESCRIPTORS = 64 };

#endif
