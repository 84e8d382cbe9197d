/* agent/host_net.c - adapters and their addresses, by netlink (libnl). */
#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host_ops.h"

/* What the kernel has, read at once. */
struct net {
	struct nl_sock *sock;
	struct nl_cache *links, *addresses, *routes;
};

static int
failed(struct err *e, const char *what, int rc)
{
	/* Of libnl's own errors these are the ones that mean something. */
	int code = rc == -NLE_OBJ_NOTFOUND || rc == -NLE_NODEV ? ENODEV
		   : rc == -NLE_PERM || rc == -NLE_NOACCESS    ? EPERM
							       : EIO;

	return err_set(e, code, "%s: %s", what, nl_geterror(rc));
}

static void
net_close(struct net *n)
{
	if (n->routes)
		nl_cache_free(n->routes);
	if (n->addresses)
		nl_cache_free(n->addresses);
	if (n->links)
		nl_cache_free(n->links);
	nl_socket_free(n->sock);
}

static int
net_open(struct net *n, struct err *e)
{
	int rc = -NLE_NOMEM;

	memset(n, 0, sizeof(*n));
	n->sock = nl_socket_alloc();
	if (n->sock)
		rc = nl_connect(n->sock, NETLINK_ROUTE);
	if (rc == 0)
		rc = rtnl_link_alloc_cache(n->sock, AF_UNSPEC, &n->links);
	if (rc == 0)
		rc = rtnl_addr_alloc_cache(n->sock, &n->addresses);
	if (rc == 0)
		rc = rtnl_route_alloc_cache(n->sock, AF_UNSPEC, 0, &n->routes);
	if (rc < 0) {
		net_close(n);
		return failed(e, "adapters", rc);
	}
	return 0;
}

/* --- reading
 * -------------------------------------------------------------------------------------------------- */

/* Hardware: Ethernet that is nobody's bridge, tap or VLAN. (veth is for tests.) */
static bool
is_adapter(struct rtnl_link *l)
{
	const char *type = rtnl_link_get_type(l);

	return rtnl_link_get_arptype(l) == ARPHRD_ETHER && !(rtnl_link_get_flags(l) & IFF_LOOPBACK) &&
	       (!type || strcmp(type, "veth") == 0);
}

static void
read_addresses(struct net *n, int index, struct host_adapter *a)
{
	for (struct nl_object *o = nl_cache_get_first(n->addresses); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *addr = (struct rtnl_addr *)o;

		if (rtnl_addr_get_ifindex(addr) != index || rtnl_addr_get_scope(addr) != RT_SCOPE_UNIVERSE ||
		    a->addresses == HOST_ADDRESSES)
			continue;
		nl_addr2str(rtnl_addr_get_local(addr), a->address[a->addresses], HOST_ADDRESS_SIZE);
		if (!strchr(a->address[a->addresses], '/')) /* libnl leaves out /32 and /128 */
			strncat(a->address[a->addresses],
			    rtnl_addr_get_family(addr) == AF_INET ? "/32" : "/128", 5);
		a->addresses++;
	}
}

static bool
is_default(struct rtnl_route *r)
{
	return nl_addr_get_prefixlen(rtnl_route_get_dst(r)) == 0 &&
	       rtnl_route_get_table(r) == RT_TABLE_MAIN && rtnl_route_get_nnexthops(r) > 0;
}

static void
read_gateway(struct net *n, int index, struct host_adapter *a)
{
	for (struct nl_object *o = nl_cache_get_first(n->routes); o; o = nl_cache_get_next(o)) {
		struct rtnl_route *r = (struct rtnl_route *)o;
		struct rtnl_nexthop *hop;
		struct nl_addr *via;

		if (!is_default(r))
			continue;
		hop = rtnl_route_nexthop_n(r, 0);
		via = rtnl_route_nh_get_gateway(hop);
		if (rtnl_route_nh_get_ifindex(hop) == index && via && !a->gateway[0])
			nl_addr2str(via, a->gateway, sizeof(a->gateway));
	}
}

int
host_net_adapters(struct host_adapter list[HOST_ADAPTERS], struct err *e)
{
	struct net n;
	int count = 0, rc = net_open(&n, e);

	if (rc < 0)
		return rc;
	for (struct nl_object *o = nl_cache_get_first(n.links); o; o = nl_cache_get_next(o)) {
		struct rtnl_link *l = (struct rtnl_link *)o;
		struct host_adapter *a = &list[count];

		if (!is_adapter(l) || count == HOST_ADAPTERS)
			continue;
		memset(a, 0, sizeof(*a));
		snprintf(a->name, sizeof(a->name), "%s", rtnl_link_get_name(l));
		nl_addr2str(rtnl_link_get_addr(l), a->mac, sizeof(a->mac));
		a->link = (rtnl_link_get_flags(l) & IFF_LOWER_UP) != 0;
		read_addresses(&n, rtnl_link_get_ifindex(l), a);
		read_gateway(&n, rtnl_link_get_ifindex(l), a);
		count++;
	}
	net_close(&n);
	return count;
}

/* No libnl for it: what is told is not read, all is looked at again. */
int
host_net_watch(struct err *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return err_sys(e, "adapters");
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	err_sys(e, "adapters");
	close(fd);
	return -e->code;
}

/* --- setting
 * -------------------------------------------------------------------------------------------------- */

static int
switch_on(struct net *n, struct rtnl_link *l)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int rc;

	if (!change)
		return -NLE_NOMEM;
	rtnl_link_set_flags(change, IFF_UP);
	rc = rtnl_link_change(n->sock, l, change, 0);
	rtnl_link_put(change);
	return rc;
}

static int
add_address(struct net *n, int index, struct nl_addr *local)
{
	struct rtnl_addr *a = rtnl_addr_alloc();
	int rc = -NLE_NOMEM;

	if (!a)
		return rc;
	rtnl_addr_set_ifindex(a, index);
	rc = rtnl_addr_set_local(a, local);
	if (rc == 0)
		rc = rtnl_addr_add(n->sock, a, NLM_F_REPLACE);
	rtnl_addr_put(a);
	return rc == -NLE_EXIST ? 0 : rc;
}

/* All of the same family but this one. */
static int
remove_others(struct net *n, int index, struct nl_addr *local)
{
	int rc = 0;

	for (struct nl_object *o = nl_cache_get_first(n->addresses); rc == 0 && o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;
		struct nl_addr *is = rtnl_addr_get_local(a);

		if (rtnl_addr_get_ifindex(a) != index || rtnl_addr_get_scope(a) != RT_SCOPE_UNIVERSE ||
		    nl_addr_get_family(is) != nl_addr_get_family(local))
			continue;
		if (nl_addr_cmp(is, local) != 0)
			rc = rtnl_addr_delete(n->sock, a, 0);
		if (rc == -NLE_NOADDR || rc == -NLE_OBJ_NOTFOUND) /* it went with its primary address */
			rc = 0;
	}
	return rc;
}

static int
remove_default(struct net *n, int index, int family)
{
	int rc = 0;

	for (struct nl_object *o = nl_cache_get_first(n->routes); rc == 0 && o; o = nl_cache_get_next(o)) {
		struct rtnl_route *r = (struct rtnl_route *)o;

		if (is_default(r) && rtnl_route_get_family(r) == family &&
		    rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(r, 0)) == index)
			rc = rtnl_route_delete(n->sock, r, 0);
		if (rc == -NLE_OBJ_NOTFOUND) /* it went with its address */
			rc = 0;
	}
	return rc;
}

/* The adapter's number is the metric: with several gateways the first adapter's counts. */
static int
add_default(struct net *n, int index, struct nl_addr *via)
{
	struct rtnl_route *r = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *any = NULL;
	int family = nl_addr_get_family(via), rc = -NLE_NOMEM;

	if (r && hop)
		rc = nl_addr_parse("default", family, &any);
	if (rc == 0)
		rc = rtnl_route_set_dst(r, any);
	if (rc == 0) {
		rtnl_route_set_family(r, (uint8_t)family);
		rtnl_route_set_table(r, RT_TABLE_MAIN);
		rtnl_route_set_scope(r, RT_SCOPE_UNIVERSE);
		rtnl_route_set_protocol(r, RTPROT_STATIC);
		rtnl_route_set_priority(r, (uint32_t)index);
		rtnl_route_nh_set_ifindex(hop, index);
		rtnl_route_nh_set_gateway(hop, via);
		rtnl_route_add_nexthop(r, hop); /* r's from here on */
		hop = NULL;
		rc = rtnl_route_add(n->sock, r, NLM_F_REPLACE);
	}
	nl_addr_put(any);
	if (hop)
		rtnl_route_nh_free(hop);
	rtnl_route_put(r);
	return rc;
}

static int
apply(struct net *n, struct rtnl_link *l, struct nl_addr *local, struct nl_addr *via, struct err *e)
{
	const char *name = rtnl_link_get_name(l);
	int index = rtnl_link_get_ifindex(l), rc = switch_on(n, l);

	if (rc < 0)
		return err_wrap(e, failed(e, "cannot be switched on", rc), "%s", name);
	/* In this order: others of the same network take what came after them along when they go. */
	rc = remove_others(n, index, local);
	if (rc == 0)
		rc = add_address(n, index, local);
	if (rc < 0)
		return err_wrap(e, failed(e, "the address cannot be set", rc), "%s", name);
	rc = remove_default(n, index, nl_addr_get_family(local));
	if (rc == 0 && via)
		rc = add_default(n, index, via);
	return rc < 0 ? err_wrap(e, failed(e, "the gateway cannot be set", rc), "%s", name) : 0;
}

int
host_net_set_address(const char *adapter, const char *address, const char *gateway, struct err *e)
{
	struct nl_addr *local = NULL, *via = NULL;
	struct rtnl_link *l = NULL;
	struct net n;
	int rc = net_open(&n, e);

	if (rc < 0)
		return rc;
	l = rtnl_link_get_by_name(n.links, adapter);
	rc = nl_addr_parse(address, AF_UNSPEC, &local);
	if (rc == 0 && gateway[0])
		rc = nl_addr_parse(gateway, nl_addr_get_family(local), &via);
	if (rc < 0)
		rc = err_set(e, EINVAL, "%s: %s", adapter, nl_geterror(rc));
	else if (!l)
		rc = err_set(e, ENODEV, "%s: there is no such adapter", adapter);
	else
		rc = apply(&n, l, local, via, e);
	rtnl_link_put(l);
	nl_addr_put(local);
	nl_addr_put(via);
	net_close(&n);
	return rc;
}
