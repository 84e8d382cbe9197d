/*
 * tests/lab/driver.c - fh-lab FILE ARGUMENT..., or fh-lab -e CODE ARGUMENT...: runs Lua with the module fh.
 *
 * Whatever happens in the script, no process that it started is left behind.
 */
#include "tests/lab/driver.h"

#include <errno.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

int
driver_fail(lua_State *L, const struct err *e)
{
	lua_pushnil(L);
	lua_pushstring(L, e->msg);
	lua_pushinteger(L, e->code);
	return 3;
}

int
driver_fail_sys(lua_State *L, const char *what)
{
	struct err e = { 0 };

	err_sys(&e, "%s", what);
	return driver_fail(L, &e);
}

static int
open_fh(lua_State *L)
{
	lua_newtable(L);
	driver_open_fd(L);
	driver_open_process(L);
	driver_open_json(L);
	driver_open_control(L);
	driver_open_net(L);
	driver_open_dm(L);
	return 1;
}

/* Lua's own libraries but for package: a static program loads no C modules. */
static void
open_libraries(lua_State *L)
{
	static const luaL_Reg libs[] = {
		{ LUA_GNAME, luaopen_base },
		{ LUA_TABLIBNAME, luaopen_table },
		{ LUA_IOLIBNAME, luaopen_io },
		{ LUA_OSLIBNAME, luaopen_os },
		{ LUA_STRLIBNAME, luaopen_string },
		{ LUA_MATHLIBNAME, luaopen_math },
		{ LUA_COLIBNAME, luaopen_coroutine },
		{ LUA_DBLIBNAME, luaopen_debug },
		{ "fh", open_fh },
	};

	for (size_t i = 0; i < sizeof(libs) / sizeof(libs[0]); i++) {
		luaL_requiref(L, libs[i].name, libs[i].func, 1);
		lua_pop(L, 1);
	}
}

static int
with_traceback(lua_State *L)
{
	luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
	return 1;
}

static int
load(lua_State *L, char **argv)
{
	if (argv[1] && strcmp(argv[1], "-e") == 0 && argv[2])
		return luaL_loadstring(L, argv[2]);
	return luaL_loadfile(L, argv[1]);
}

/* The script's arguments are its ... and the table arg. */
static int
run(lua_State *L, char **argv)
{
	char **rest = argv + 2;
	int n = 0, rc;

	if (argv[1] && strcmp(argv[1], "-e") == 0)
		rest++;
	lua_pushcfunction(L, with_traceback);
	rc = load(L, argv);
	if (rc != LUA_OK)
		return rc;
	for (; rest[n]; n++)
		lua_pushstring(L, rest[n]);
	return lua_pcall(L, n, 0, 1);
}

int
main(int argc, char **argv)
{
	lua_State *L = luaL_newstate();
	int rc;

	if (!L || argc < 2 || (strcmp(argv[1], "-e") == 0 && argc < 3)) {
		fprintf(stderr, "usage: fh-lab FILE ARGUMENT... | fh-lab -e CODE ARGUMENT...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_libraries(L);
	rc = run(L, argv);
	if (rc != LUA_OK)
		fprintf(stderr, "fh-lab: %s\n", lua_tostring(L, -1));
	lua_close(L);
	driver_end_children();
	return rc == LUA_OK ? 0 : 1;
}
