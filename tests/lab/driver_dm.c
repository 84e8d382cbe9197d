/*
 * tests/lab/driver_dm.c - block devices that fail where a test wants them to: the kernel's device mapper.
 *
 *   fh.dm(name, {{first sector, sectors, "linear", "/dev/loop0 0"}, {..., "error", ""}}) -> "/dev/dm-0"
 *       makes the device, or gives the one of that name another table
 *   fh.dm_remove(name)
 */
#include "tests/lab/driver.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ROOM = 8192 };

struct order {
	struct dm_ioctl head;
	char rest[ROOM];
};

static int
give(struct order *o, const char *name, unsigned long request, uint32_t flags, uint32_t targets)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	memset(&o->head, 0, sizeof(o->head));
	o->head.version[0] = DM_VERSION_MAJOR;
	o->head.data_size = sizeof(*o);
	o->head.data_start = offsetof(struct order, rest);
	o->head.flags = flags;
	o->head.target_count = targets;
	snprintf(o->head.name, sizeof(o->head.name), "%s", name);
	rc = ioctl(fd, request, o);
	close(fd);
	return rc;
}

/* One row of the table on top of the stack, behind the `at` bytes that are there; how long it is. */
static size_t
put_target(lua_State *L, char *at, size_t room)
{
	struct dm_target_spec spec = { 0 };
	const char *params;
	size_t len;

	for (int i = 1; i <= 4; i++)
		lua_rawgeti(L, -i, i);
	spec.sector_start = (uint64_t)luaL_checkinteger(L, -4);
	spec.length = (uint64_t)luaL_checkinteger(L, -3);
	snprintf(spec.target_type, sizeof(spec.target_type), "%s", luaL_checkstring(L, -2));
	params = luaL_checklstring(L, -1, &len);
	spec.next = (uint32_t)((sizeof(spec) + len + 8) & ~(size_t)7);
	if (spec.next > room)
		luaL_error(L, "the table is too long");
	memcpy(at, &spec, sizeof(spec));
	memcpy(at + sizeof(spec), params, len + 1);
	lua_pop(L, 4);
	return spec.next;
}

static uint32_t
put_table(lua_State *L, int idx, struct order *o)
{
	size_t used = 0;
	uint32_t n = (uint32_t)luaL_len(L, idx);

	memset(o, 0, sizeof(*o));
	for (uint32_t i = 1; i <= n; i++) {
		lua_rawgeti(L, idx, i);
		used += put_target(L, o->rest + used, sizeof(o->rest) - used);
		lua_pop(L, 1);
	}
	return n;
}

static int
fh_dm(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	struct order o;
	uint32_t n;

	memset(&o, 0, sizeof(o));
	give(&o, name, DM_DEV_CREATE, 0, 0); /* there already: it gets another table */
	n = put_table(L, 2, &o);
	if (give(&o, name, DM_TABLE_LOAD, 0, n) < 0 || give(&o, name, DM_DEV_SUSPEND, 0, 0) < 0)
		return driver_fail_sys(L, name);
	lua_pushfstring(L, "/dev/dm-%d", (int)minor(o.head.dev));
	return 1;
}

static int
fh_dm_remove(lua_State *L)
{
	struct order o;

	memset(&o, 0, sizeof(o));
	if (give(&o, luaL_checkstring(L, 1), DM_DEV_REMOVE, 0, 0) < 0)
		return driver_fail_sys(L, lua_tostring(L, 1));
	lua_pushboolean(L, 1);
	return 1;
}

void
driver_open_dm(lua_State *L)
{
	static const luaL_Reg functions[] = { { "dm", fh_dm }, { "dm_remove", fh_dm_remove },
		{ NULL, NULL } };

	luaL_setfuncs(L, functions, 0);
}
