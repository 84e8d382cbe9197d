/*
 * agent/host_dhcp.h - where an adapter has its address from: a supervised DHCP client, or the settings.
 *
 *   RUN/service/udhcpc-ADAPTER/run   what runsvdir supervises; made whole, then moved into place
 *   RUN/dhcp/ADAPTER                 what a lease brought (address, gateway, dns, domain, ntp as NAME=VALUE
 * lines), written by udhcpc's script; for an adapter without DHCP the agent writes the same RUN/resolv.conf
 * the name servers of all of them
 *
 * Any thread, one at a time.
 */
#ifndef AGENT_HOST_DHCP_H
#define AGENT_HOST_DHCP_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/host_ops.h"
#include "agent/host_settings.h"

/* A DHCP client for the adapter; one that runs goes on. It tells the server the host's name as it is then. */
int dhcp_start(const char *run, const char *adapter, struct err *e);
/* Ends it and waits for that, since it takes its address along; its lease is forgotten. 0 when there is none.
 */
int dhcp_stop(const char *run, const char *adapter, struct err *e);
bool dhcp_runs(const char *run, const char *adapter);
/* Notes the settings as a lease would be, and makes resolv.conf of all. */
int dhcp_note(const char *run, const char *adapter, const struct host_adapter_settings *s, struct err *e);
/* The name servers of an adapter, by DHCP or not: how many. */
size_t dhcp_servers(const char *run, const char *adapter, char dns[HOST_DNS][HOST_ADDRESS_SIZE]);

#endif
