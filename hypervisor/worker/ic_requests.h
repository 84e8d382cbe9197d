/*
 * hypervisor/worker/ic_requests.h - the rows of the worker's table of requests that are about integration
 * components.
 */
#ifndef HYPERVISOR_WORKER_IC_REQUESTS_H
#define HYPERVISOR_WORKER_IC_REQUESTS_H

#include <stdint.h>

#include "hypervisor/vsp/ic.h"
#include "lib/control.h"

enum { IC_PAGE = 12 /* facts in one answer */ };

struct ic_params {
	unsigned kind, shutdown, pool;
	bool on, force, refresh, cancel;
	uint64_t from, seconds;
	char reason[IC_REASON * 3 + 1];
	struct kvp_item item;
	struct ic_ip ip;
	struct ic_copy copy;
};
struct ic_changed {
	bool changed;
};
struct ic_entry {
	struct ic_report report;
	char version[16];
};
struct ic_list {
	size_t n;
	struct ic_entry entry[IC_KINDS];
};
struct kvp_page {
	size_t n;
	uint64_t total;
	struct kvp_item item[IC_PAGE];
};

extern const struct field ic_list_fields[], ic_set_fields[], ic_changed_fields[], guest_shutdown_fields[],
    kvp_key_fields[], kvp_set_fields[], kvp_enumerate_fields[], kvp_page_fields[], kvp_item_fields[],
    guest_ip_get_fields[], guest_ip_set_fields[], guest_freeze_fields[], guest_copy_fields[];

void ic_defaults(void *params);
int do_ic_list(void *ctx, void *params, void *result, struct err *e);
int do_ic_set(void *ctx, void *params, void *result, struct err *e);
int do_guest_shutdown(void *ctx, void *params, void *result, struct err *e);
int do_guest_time_sync(void *ctx, void *params, void *result, struct err *e);
int do_kvp_get(void *ctx, void *params, void *result, struct err *e);
int do_kvp_set(void *ctx, void *params, void *result, struct err *e);
int do_kvp_delete(void *ctx, void *params, void *result, struct err *e);
int do_kvp_enumerate(void *ctx, void *params, void *result, struct err *e);
int do_guest_ip_get(void *ctx, void *params, void *result, struct err *e);
int do_guest_ip_set(void *ctx, void *params, void *result, struct err *e);
int do_guest_freeze(void *ctx, void *params, void *result, struct err *e);
int do_guest_thaw(void *ctx, void *params, void *result, struct err *e);
int do_guest_copy(void *ctx, void *params, void *result, struct err *e);
int do_guest_copy_cancel(void *ctx, void *params, void *result, struct err *e);

#endif
