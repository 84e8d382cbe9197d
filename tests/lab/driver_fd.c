/*
 * tests/lab/driver_fd.c - descriptors in Lua: files, memfds, pipes, socket pairs, terminals; and poll.
 *
 *   fh.open(path, "r"|"w"|"rw"|"a"|"direct")   fh.memfd(name)   fh.pipe()   fh.pair()   fh.stdio(n)
 *   fh.poll({fd, ...}, ms) -> {fd readable or ended = true}
 *   fd:read(max)  "" at the end, nil "again" when nothing is there (pair ends do not block)
 *   fd:put(s) -> what went at once, in bytes
 *   fd:write(s)  fd:size()  fd:seek(n)  fd:close()  fd:number()  fd:raw()
 *   fd:ioctl(request, number)
 *   fh.list(folder)   fh.readlink(path)
 */
#include "tests/lab/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define FD "fh.fd"

void
driver_fd_push(lua_State *L, int fd)
{
	int *p = lua_newuserdatauv(L, sizeof(*p), 0);

	*p = fd;
	luaL_setmetatable(L, FD);
}

int
driver_fd_test(lua_State *L, int idx)
{
	int *p = luaL_testudata(L, idx, FD);

	return p ? *p : -1;
}

int
driver_fd_check(lua_State *L, int idx)
{
	int *p = luaL_checkudata(L, idx, FD);

	if (*p < 0)
		luaL_argerror(L, idx, "descriptor is closed");
	return *p;
}

static int
fd_close(lua_State *L)
{
	int *p = luaL_checkudata(L, 1, FD);

	if (*p >= 0)
		close(*p);
	*p = -1;
	return 0;
}

static int
fd_number(lua_State *L)
{
	lua_pushinteger(L, driver_fd_check(L, 1));
	return 1;
}

static int
fd_read(lua_State *L)
{
	int fd = driver_fd_check(L, 1);
	size_t most = (size_t)luaL_optinteger(L, 2, 65536);
	luaL_Buffer b;
	char *to = luaL_buffinitsize(L, &b, most);
	ssize_t n = read(fd, to, most);

	if (n < 0 && (errno == EIO || errno == ECONNRESET))
		n = 0; /* the other side has gone */
	if (n < 0)
		return driver_fail_sys(L, "read");
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

static int
fd_write(lua_State *L)
{
	int fd = driver_fd_check(L, 1);
	size_t len, done = 0;
	const char *s = luaL_checklstring(L, 2, &len);

	while (done < len) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, s + done, len - done);

		if (n < 0 && errno == EAGAIN && poll(&p, 1, 10000) == 1)
			continue;
		if (n < 0)
			return driver_fail_sys(L, "write");
		done += (size_t)n;
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int
fd_put(lua_State *L)
{
	size_t len;
	const char *s = luaL_checklstring(L, 2, &len);
	ssize_t n = write(driver_fd_check(L, 1), s, len);

	if (n < 0 && errno != EAGAIN)
		return driver_fail_sys(L, "write");
	lua_pushinteger(L, n < 0 ? 0 : n);
	return 1;
}

static int
fd_size(lua_State *L)
{
	struct stat st;

	if (fstat(driver_fd_check(L, 1), &st) < 0)
		return driver_fail_sys(L, "stat");
	lua_pushinteger(L, st.st_size);
	return 1;
}

static int
fd_seek(lua_State *L)
{
	off_t at = lseek(driver_fd_check(L, 1), (off_t)luaL_optinteger(L, 2, 0), SEEK_SET);

	if (at < 0)
		return driver_fail_sys(L, "seek");
	lua_pushinteger(L, at);
	return 1;
}

/* A terminal that passes every byte on as it is. */
static int
fd_raw(lua_State *L)
{
	int fd = driver_fd_check(L, 1);
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return driver_fail_sys(L, "terminal");
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSANOW, &t) < 0)
		return driver_fail_sys(L, "terminal");
	lua_pushboolean(L, 1);
	return 1;
}

/* A request without a structure: KVM_CHECK_EXTENSION and the like. */
static int
fd_ioctl(lua_State *L)
{
	int rc = ioctl(
	    driver_fd_check(L, 1), (unsigned long)luaL_checkinteger(L, 2), luaL_optinteger(L, 3, 0));

	if (rc < 0)
		return driver_fail_sys(L, "ioctl");
	lua_pushinteger(L, rc);
	return 1;
}

static int
fh_open(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1), *how = luaL_optstring(L, 2, "r");
	int flags = O_RDONLY, fd;

	if (strcmp(how, "w") == 0)
		flags = O_WRONLY | O_CREAT | O_TRUNC;
	else if (strcmp(how, "a") == 0)
		flags = O_WRONLY | O_CREAT | O_APPEND;
	else if (strcmp(how, "rw") == 0)
		flags = O_RDWR | O_CREAT;
	else if (strcmp(how, "direct") == 0)
		flags = O_RDWR | O_DIRECT;
	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		return driver_fail_sys(L, path);
	driver_fd_push(L, fd);
	return 1;
}

static int
fh_memfd(lua_State *L)
{
	int fd = memfd_create(luaL_optstring(L, 1, "lab"), MFD_CLOEXEC);

	if (fd < 0)
		return driver_fail_sys(L, "memfd");
	driver_fd_push(L, fd);
	return 1;
}

static int
fh_stdio(lua_State *L)
{
	int fd = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return driver_fail_sys(L, "dup");
	driver_fd_push(L, fd);
	return 1;
}

/* Read end, write end. */
static int
fh_pipe(lua_State *L)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return driver_fail_sys(L, "pipe");
	driver_fd_push(L, p[0]);
	driver_fd_push(L, p[1]);
	return 2;
}

/* Ours, theirs: two ends of a stream. */
static int
fh_pair(lua_State *L)
{
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p) < 0)
		return driver_fail_sys(L, "socketpair");
	driver_fd_push(L, p[0]);
	driver_fd_push(L, p[1]);
	return 2;
}

static int
fh_poll(lua_State *L)
{
	struct pollfd p[64];
	nfds_t n = 0;

	luaL_checktype(L, 1, LUA_TTABLE);
	for (; n < 64 && lua_geti(L, 1, (lua_Integer)n + 1) != LUA_TNIL; n++) {
		p[n] = (struct pollfd){ .fd = driver_fd_check(L, -1), .events = POLLIN };
		lua_pop(L, 1);
	}
	lua_settop(L, 2);
	if (poll(p, n, (int)luaL_optinteger(L, 2, 0)) < 0 && errno != EINTR)
		return driver_fail_sys(L, "poll");
	lua_newtable(L);
	for (nfds_t i = 0; i < n; i++) {
		if (p[i].revents == 0)
			continue;
		lua_geti(L, 1, (lua_Integer)i + 1);
		lua_pushboolean(L, 1);
		lua_settable(L, -3);
	}
	return 1;
}

static int
fh_list(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	DIR *d = opendir(path);
	struct dirent *e;
	lua_Integer n = 0;

	if (!d)
		return driver_fail_sys(L, path);
	lua_newtable(L);
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		lua_pushstring(L, e->d_name);
		lua_seti(L, -2, ++n);
	}
	closedir(d);
	return 1;
}

static int
fh_readlink(lua_State *L)
{
	char to[1024];
	ssize_t n = readlink(luaL_checkstring(L, 1), to, sizeof(to));

	if (n < 0)
		return driver_fail_sys(L, "readlink");
	lua_pushlstring(L, to, (size_t)n);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "read", fd_read },
	{ "write", fd_write },
	{ "put", fd_put },
	{ "size", fd_size },
	{ "seek", fd_seek },
	{ "close", fd_close },
	{ "number", fd_number },
	{ "raw", fd_raw },
	{ "ioctl", fd_ioctl },
	{ "__gc", fd_close },
	{ "__close", fd_close },
	{ NULL, NULL },
};

static const luaL_Reg functions[] = {
	{ "open", fh_open },
	{ "memfd", fh_memfd },
	{ "stdio", fh_stdio },
	{ "pipe", fh_pipe },
	{ "pair", fh_pair },
	{ "poll", fh_poll },
	{ "list", fh_list },
	{ "readlink", fh_readlink },
	{ NULL, NULL },
};

void
driver_open_fd(lua_State *L)
{
	luaL_newmetatable(L, FD);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 0);
}
