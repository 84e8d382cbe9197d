/*
 * sconfig/pages.h - every page: host pages in page_host.c, power and session in page_power.c, machines in
 * page_machines.c, their disks in page_disks.c, their guests and memory in page_guest.c.
 */
#ifndef SCONFIG_PAGES_H
#define SCONFIG_PAGES_H

#include "sconfig/page.h"

extern const struct page page_status, page_name, page_remote, page_network, page_time;
extern const struct page page_log_off, page_restart, page_shut_down, page_shell;
extern const struct page page_machines, page_vm_create, page_vm_settings, page_vm_delete;
extern const struct page page_disks, page_disk_create, page_disk_attach, page_disk_remove;
extern const struct page page_disk_child, page_disk_grow, page_disk_convert, page_disk_merge, page_disk_test;
extern const struct page page_disk_branch, page_disk_image;
extern const struct page page_guest, page_services, page_memory, page_copy;
extern const struct page page_dvd_add, page_dvd_insert;

/* https://ADDRESS:PORT of remote management as host.get's answer has it: the first adapter's address. */
void show_management(const json_t *value, const json_t *doc, char *out, size_t size);
/* page.h's show function for heartbeats. */
void show_heartbeat(const json_t *value, const json_t *doc, char *out, size_t size);
/* How many of an array of machines run. */
size_t running_machines(const json_t *vms);

#endif
