/*
 * sconfig/pages.c - the main menu, in its order. A number keeps its meaning for ever: it is SConfig's where
 * SConfig had one. Numbers whose function the product does not have yet are not there.
 */
#include "sconfig/pages.h"

const struct page *const pages[] = {
	&page_status,
	&page_name,
	&page_remote,
	&page_network,
	&page_time,
	&page_log_off,
	&page_restart,
	&page_shut_down,
	&page_shell,
	&page_machines,
	NULL,
};

const struct page *const all_pages[] = {
	&page_status,
	&page_name,
	&page_remote,
	&page_network,
	&page_time,
	&page_log_off,
	&page_restart,
	&page_shut_down,
	&page_shell,
	&page_machines,
	&page_vm_create,
	&page_vm_settings,
	&page_vm_delete,
	&page_guest,
	&page_services,
	&page_memory,
	&page_copy,
	&page_disks,
	&page_disk_create,
	&page_disk_attach,
	&page_dvd_add,
	&page_dvd_insert,
	&page_disk_remove,
	&page_disk_child,
	&page_disk_grow,
	&page_disk_convert,
	&page_disk_branch,
	&page_disk_merge,
	&page_disk_image,
	&page_disk_test,
	NULL,
};
