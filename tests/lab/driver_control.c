/*
 * tests/lab/driver_control.c - the control protocol in Lua (lib/control.h).
 *
 *   c = fh.control(path)   c:call(method, params, ms) -> result | nil, sentence, errno
 *   c:event(ms) -> {method=, params=} | nil, sentence, errno   c:close()   c:fd() for fh.poll
 *   c:raw(text, {fd, ...}) -> answer  sends bytes as they are, as a broken peer would; waits a second for an
 * answer
 */
#include "tests/lab/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/control.h"

#define CONTROL "fh.control"

struct handle {
	struct control_client *client; /* NULL once closed */
};

static struct control_client *
check(lua_State *L)
{
	struct handle *h = luaL_checkudata(L, 1, CONTROL);

	if (!h->client)
		luaL_argerror(L, 1, "connection is closed");
	return h->client;
}

static int
c_close(lua_State *L)
{
	struct handle *h = luaL_checkudata(L, 1, CONTROL);

	if (h->client)
		control_close(h->client);
	h->client = NULL;
	return 0;
}

static int
c_call(lua_State *L)
{
	struct control_client *c = check(L);
	const char *method = luaL_checkstring(L, 2);
	int ms = (int)luaL_optinteger(L, 4, 30000);
	struct driver_fds fds = { 0 };
	struct err e = { 0 };
	json_t *params = lua_isnoneornil(L, 3) ? NULL : driver_json_from(L, 3, &fds), *result = NULL;

	if (control_call(c, method, params, fds.fd, fds.n, ms, &result, &e) < 0)
		return driver_fail(L, &e);
	driver_json_push(L, result);
	json_decref(result);
	return 1;
}

static int
c_event(lua_State *L)
{
	struct err e = { 0 };
	json_t *event = control_next_event(check(L), (int)luaL_optinteger(L, 2, 0), &e);

	if (!event)
		return driver_fail(L, &e);
	driver_json_push(L, event);
	json_decref(event);
	return 1;
}

static int
c_fd(lua_State *L)
{
	int fd = fcntl(control_client_fd(check(L)), F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return driver_fail_sys(L, "dup");
	driver_fd_push(L, fd);
	return 1;
}

static size_t
fds_at(lua_State *L, int idx, int *to, size_t most)
{
	size_t n = 0;

	for (; lua_istable(L, idx) && n < most; n++) {
		if (lua_geti(L, idx, (lua_Integer)n + 1) == LUA_TNIL)
			break;
		to[n] = driver_fd_check(L, -1);
		lua_pop(L, 1);
	}
	return n;
}

/* The packet that comes within a second, as text. */
static int
push_packet(lua_State *L, int fd)
{
	static char text[CONTROL_MAX];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = poll(&p, 1, 1000) == 1 ? recv(fd, text, sizeof(text), 0) : -1;

	if (n < 0)
		return driver_fail_sys(L, "no answer");
	lua_pushlstring(L, text, (size_t)n);
	return 1;
}

static int
c_raw(lua_State *L)
{
	int fd = control_client_fd(check(L)), fds[CONTROL_MAX_FDS];
	size_t len, n = fds_at(L, 3, fds, CONTROL_MAX_FDS);
	const char *s = luaL_checklstring(L, 2, &len);
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(fds))];
	} u = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)s, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		m.msg_control = &u;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		u.head = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(n * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(&u.head), fds, n * sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
		return driver_fail_sys(L, "send");
	return push_packet(L, fd);
}

static int
fh_control(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
	struct err e = { 0 };

	h->client = NULL;
	luaL_setmetatable(L, CONTROL);
	if (control_connect(&h->client, path, &e) < 0)
		return driver_fail(L, &e);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "call", c_call },
	{ "event", c_event },
	{ "fd", c_fd },
	{ "raw", c_raw },
	{ "close", c_close },
	{ "__gc", c_close },
	{ "__close", c_close },
	{ NULL, NULL },
};

void
driver_open_control(lua_State *L)
{
	luaL_newmetatable(L, CONTROL);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	lua_pushcfunction(L, fh_control);
	lua_setfield(L, -2, "control");
}
