/*
 * tests/lab/driver_net.c - TCP in Lua, for scenarios on two machines.
 *
 *   l = fh.listen(port)   fh.accept(l, ms) -> fd   fh.connect(address, port, ms) -> fd (tries until then)
 *   l = fh.abstract(name)  a listening Unix socket in this network namespace
 *   {fd, ...} = fh.tap(name, queues)  a tap that is made, or joined, with the header that a worker wants
 */
#include "tests/lab/driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int
quick(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int
fh_listen(lua_State *L)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)luaL_checkinteger(L, 1)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return driver_fail_sys(L, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	driver_fd_push(L, fd);
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		return driver_fail_sys(L, "listen");
	return 1;
}

static int
fh_abstract(lua_State *L)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	luaL_argcheck(L, len < sizeof(a.sun_path), 1, "too long");
	if (fd < 0)
		return driver_fail_sys(L, "socket");
	memcpy(a.sun_path + 1, name, len);
	driver_fd_push(L, fd);
	if (bind(fd, (const struct sockaddr *)&a,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0 ||
	    listen(fd, 8) < 0)
		return driver_fail_sys(L, "listen");
	return 1;
}

static int
fh_accept(lua_State *L)
{
	struct pollfd p = { .fd = driver_fd_check(L, 1), .events = POLLIN };
	int fd;

	if (poll(&p, 1, (int)luaL_optinteger(L, 2, 30000)) == 0) {
		errno = ETIMEDOUT;
		return driver_fail_sys(L, "accept");
	}
	fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return driver_fail_sys(L, "accept");
	driver_fd_push(L, quick(fd));
	return 1;
}

static int
fh_connect(lua_State *L)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)luaL_checkinteger(L, 2)) };
	lua_Integer left = luaL_optinteger(L, 3, 30000);

	luaL_argcheck(L, inet_pton(AF_INET, luaL_checkstring(L, 1), &a.sin_addr) == 1, 1, "not an address");
	for (;; left -= 50) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), why;

		if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0) {
			driver_fd_push(L, quick(fd));
			return 1;
		}
		why = errno;
		if (fd >= 0)
			close(fd);
		errno = why;
		if (left <= 0)
			return driver_fail_sys(L, "connect");
		usleep(50000);
	}
}

static int
fh_tap(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	lua_Integer queues = luaL_optinteger(L, 2, 1);
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (queues > 1)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	lua_newtable(L);
	for (lua_Integer i = 1; i <= queues; i++) {
		int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return driver_fail_sys(L, "/dev/net/tun");
		driver_fd_push(L, fd);
		if (ioctl(fd, TUNSETIFF, &r) < 0)
			return driver_fail_sys(L, name);
		lua_rawseti(L, -2, i);
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{ "listen", fh_listen },
	{ "abstract", fh_abstract },
	{ "accept", fh_accept },
	{ "connect", fh_connect },
	{ "tap", fh_tap },
	{ NULL, NULL },
};

void
driver_open_net(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
