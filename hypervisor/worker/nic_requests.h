/*
 * hypervisor/worker/nic_requests.h - the rows of the worker's table of requests that are about network
 * adapters.
 */
#ifndef HYPERVISOR_WORKER_NIC_REQUESTS_H
#define HYPERVISOR_WORKER_NIC_REQUESTS_H

#include "hypervisor/worker/nics.h"

struct nic_params {
	struct nic nic;
};
struct nic_list {
	size_t n;
	struct nic_report nic[MAX_NICS];
};

extern const struct field nic_add_fields[], nic_name_fields[], nic_connect_fields[], nic_list_fields[];

void nic_defaults(void *params);
int do_nic_add(void *ctx, void *params, void *result, struct err *e);
int do_nic_remove(void *ctx, void *params, void *result, struct err *e);
int do_nic_connect(void *ctx, void *params, void *result, struct err *e);
int do_nic_list(void *ctx, void *params, void *result, struct err *e);

#endif
