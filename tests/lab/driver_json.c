/*
 * tests/lab/driver_json.c - Lua values and JSON.
 *
 * A table with [1] is an array, any other one an object; fh.array({}) is an empty array; fh.null is null. A
 * descriptor stands for its index among the descriptors of the message.
 */
#include "tests/lab/driver.h"

#include <stdbool.h>
#include <stdlib.h>

#define ARRAY "fh.array"

static int null_key;

static json_t *
array_from(lua_State *L, int idx, struct driver_fds *fds)
{
	json_t *a = json_array();

	for (lua_Integer i = 1; lua_geti(L, idx, i) != LUA_TNIL; i++) {
		json_array_append_new(a, driver_json_from(L, lua_gettop(L), fds));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return a;
}

static json_t *
object_from(lua_State *L, int idx, struct driver_fds *fds)
{
	json_t *o = json_object();

	for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "a JSON object has names only");
		json_object_set_new(o, lua_tostring(L, -2), driver_json_from(L, lua_gettop(L), fds));
	}
	return o;
}

static json_t *
table_from(lua_State *L, int idx, struct driver_fds *fds)
{
	bool array = lua_geti(L, idx, 1) != LUA_TNIL;

	lua_pop(L, 1);
	if (!array && luaL_getmetafield(L, idx, "__name") != LUA_TNIL) {
		array = true;
		lua_pop(L, 1);
	}
	return array ? array_from(L, idx, fds) : object_from(L, idx, fds);
}

static json_t *
fd_from(lua_State *L, int idx, struct driver_fds *fds)
{
	if (!fds || fds->n == sizeof(fds->fd) / sizeof(fds->fd[0]))
		luaL_error(L, "no room for a descriptor here");
	fds->fd[fds->n] = driver_fd_check(L, idx);
	return json_integer((json_int_t)fds->n++);
}

json_t *
driver_json_from(lua_State *L, int idx, struct driver_fds *fds)
{
	size_t len;
	const char *s;

	luaL_checkstack(L, 8, "JSON too deep");
	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		return json_null();
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(L, idx));
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx))
			return json_integer(lua_tointeger(L, idx));
		return json_real(lua_tonumber(L, idx));
	case LUA_TSTRING:
		s = lua_tolstring(L, idx, &len);
		return json_stringn_nocheck(s, len);
	case LUA_TTABLE:
		return table_from(L, idx, fds);
	case LUA_TLIGHTUSERDATA:
		return json_null();
	default:
		return fd_from(L, idx, fds);
	}
}

static void
push_object(lua_State *L, const json_t *v)
{
	const char *name;
	json_t *item;

	lua_newtable(L);
	json_object_foreach((json_t *)(uintptr_t)v, name, item)
	{
		driver_json_push(L, item);
		lua_setfield(L, -2, name);
	}
}

void
driver_json_push(lua_State *L, const json_t *v)
{
	luaL_checkstack(L, 8, "JSON too deep");
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		push_object(L, v);
		break;
	case JSON_ARRAY:
		lua_newtable(L);
		for (size_t i = 0; i < json_array_size(v); i++) {
			driver_json_push(L, json_array_get(v, i));
			lua_seti(L, -2, (lua_Integer)i + 1);
		}
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(v));
		break;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(v));
		break;
	case JSON_NULL:
		lua_pushlightuserdata(L, &null_key);
		break;
	default:
		lua_pushboolean(L, json_is_true(v));
	}
}

static int
fh_array(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_setmetatable(L, ARRAY);
	return 1;
}

static int
fh_encode(lua_State *L)
{
	struct driver_fds fds = { 0 };
	json_t *v = driver_json_from(L, 1, &fds);
	char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_SORT_KEYS);

	json_decref(v);
	lua_pushstring(L, s ? s : "");
	free(s);
	return 1;
}

static int
fh_decode(lua_State *L)
{
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len);
	json_error_t why;
	json_t *v = json_loadb(s, len, JSON_DECODE_ANY, &why);
	struct err e = { 0 };

	if (!v) {
		err_set(&e, 22, "%s", why.text);
		return driver_fail(L, &e);
	}
	driver_json_push(L, v);
	json_decref(v);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "array", fh_array },
	{ "encode", fh_encode },
	{ "decode", fh_decode },
	{ NULL, NULL },
};

void
driver_open_json(lua_State *L)
{
	luaL_newmetatable(L, ARRAY);
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 0);
	lua_pushlightuserdata(L, &null_key);
	lua_setfield(L, -2, "null");
}
