/*
 * shell/lua_json.c - between JSON and Lua.
 */
#include "shell/lua_json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/schema.h"

#define ARRAY "freehold.array"
#define SLOT  "freehold.json"

enum { LIST_MAX = 1000000 };

void
lua_push_null(lua_State *L)
{
	lua_pushlightuserdata(L, NULL);
}

static void
push_at_depth(lua_State *L, const json_t *v, int depth)
{
	const char *name;
	json_t *el;
	size_t i;

	luaL_checkstack(L, 4, "too deep");
	if (depth > LUA_JSON_DEPTH || !v) {
		lua_push_null(L);
		return;
	}
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		lua_createtable(L, 0, (int)(json_object_size(v) & 0xffff));
		json_object_foreach((json_t *)v, name, el)
		{
			push_at_depth(L, el, depth + 1);
			lua_setfield(L, -2, name);
		}
		break;
	case JSON_ARRAY:
		lua_createtable(L, (int)(json_array_size(v) & 0xffffff), 0);
		json_array_foreach(v, i, el)
		{
			push_at_depth(L, el, depth + 1);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		luaL_newmetatable(L, ARRAY);
		lua_setmetatable(L, -2);
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
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(v));
		break;
	case JSON_NULL:
		lua_push_null(L);
		break;
	}
}

void
lua_push_json(lua_State *L, const json_t *v)
{
	push_at_depth(L, v, 0);
}

/* --- from Lua ----------------------------------------------------------------------------------- */

struct reader {
	lua_State *L;
	const char *(*name_of)(lua_State *L, int index);
	char *why;
	size_t size;
};

static json_t *read_value(struct reader *r, int index, int depth);

static json_t *
refuse(struct reader *r, const char *why)
{
	if (r->size > 0)
		snprintf(r->why, r->size, "%s", why);
	return NULL;
}

static bool
is_marked(lua_State *L, int index)
{
	bool marked = false;

	if (!lua_getmetatable(L, index))
		return false;
	luaL_getmetatable(L, ARRAY);
	marked = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return marked;
}

static json_t *
read_array(struct reader *r, int index, size_t n, int depth)
{
	json_t *list = json_array(), *v;

	for (size_t i = 1; list && i <= n; i++) {
		lua_rawgeti(r->L, index, (lua_Integer)i);
		v = read_value(r, lua_gettop(r->L), depth + 1);
		lua_pop(r->L, 1);
		if (!v || json_array_append_new(list, v) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *
read_object(struct reader *r, int index, int depth)
{
	json_t *object = json_object(), *v;
	const char *name;
	size_t len;

	lua_pushnil(r->L);
	while (object && lua_next(r->L, index)) {
		name = lua_type(r->L, -2) == LUA_TSTRING ? lua_tolstring(r->L, -2, &len) : NULL;
		if (!name || strlen(name) != len)
			v = refuse(r, "a table must be a list or have names only");
		else
			v = read_value(r, lua_gettop(r->L), depth + 1);
		lua_pop(r->L, 1);
		if (v && json_object_set_new(object, name, v) == 0)
			continue;
		if (v)
			refuse(r, "a name is not UTF-8");
		lua_pop(r->L, 1);
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *
read_table(struct reader *r, int index, int depth)
{
	size_t n = lua_rawlen(r->L, index);

	if (depth >= LUA_JSON_DEPTH)
		return refuse(r, "tables are nested too deeply, or in a circle");
	if (n > LIST_MAX)
		return refuse(r, "the list is too long");
	return n > 0 || is_marked(r->L, index) ? read_array(r, index, n, depth)
					       : read_object(r, index, depth);
}

static json_t *
read_number(struct reader *r, int index)
{
	if (lua_isinteger(r->L, index))
		return json_integer(lua_tointeger(r->L, index));
	if (!isfinite(lua_tonumber(r->L, index)))
		return refuse(r, "a number is infinite, or none");
	return json_real(lua_tonumber(r->L, index));
}

static json_t *
read_string(struct reader *r, const char *s, size_t len)
{
	json_t *v = json_stringn(s, len);

	return v ? v : refuse(r, "a text is not UTF-8");
}

static json_t *
read_value(struct reader *r, int index, int depth)
{
	const char *s;
	size_t len;

	if (!lua_checkstack(r->L, 6))
		return refuse(r, "out of memory");
	switch (lua_type(r->L, index)) {
	case LUA_TTABLE:
		return read_table(r, index, depth);
	case LUA_TSTRING:
		s = lua_tolstring(r->L, index, &len);
		return read_string(r, s, len);
	case LUA_TNUMBER:
		return read_number(r, index);
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(r->L, index));
	case LUA_TNIL:
		return json_null();
	case LUA_TLIGHTUSERDATA:
		return lua_touserdata(r->L, index) ? refuse(r, "a pointer cannot be sent") : json_null();
	case LUA_TUSERDATA:
		s = r->name_of ? r->name_of(r->L, index) : NULL;
		return s ? read_string(r, s, strlen(s)) : refuse(r, "a userdata cannot be sent");
	default:
		return refuse(r, "a function or thread cannot be sent");
	}
}

json_t *
lua_to_json(lua_State *L, int index, const char *(*name_of)(lua_State *L, int index), char *why, size_t size)
{
	struct reader r = { .L = L, .name_of = name_of, .why = why, .size = size };
	json_t *v;

	refuse(&r, "out of memory");
	v = read_value(&r, lua_absindex(L, index), 0);
	return v;
}

/* --- slots -------------------------------------------------------------------------------------- */

static int
slot_gc(lua_State *L)
{
	json_t **slot = luaL_checkudata(L, 1, SLOT);

	json_decref(*slot);
	*slot = NULL;
	return 0;
}

json_t **
lua_new_json_slot(lua_State *L)
{
	json_t **slot = lua_newuserdatauv(L, sizeof(void *), 0);

	*slot = NULL;
	if (luaL_newmetatable(L, SLOT)) {
		lua_pushcfunction(L, slot_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	return slot;
}

/* --- the table json ----------------------------------------------------------------------------- */

static int
l_encode(lua_State *L)
{
	size_t flags = lua_toboolean(L, 2) ? JSON_INDENT(2) : JSON_COMPACT;
	json_t **slot;
	char why[120], *text;

	luaL_checkany(L, 1);
	slot = lua_new_json_slot(L);
	*slot = lua_to_json(L, 1, NULL, why, sizeof(why));
	if (!*slot)
		return luaL_error(L, "json.encode: %s", why);
	text = json_dumps(*slot, flags | JSON_ENCODE_ANY);
	if (!text)
		return luaL_error(L, "out of memory");
	lua_pushstring(L, text); /* raises only when memory is out */
	free(text);
	return 1;
}

static int
l_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	json_t **slot = lua_new_json_slot(L);
	struct err e = { 0 };

	*slot = schema_parse(text, len, &e);
	if (!*slot) {
		luaL_pushfail(L);
		lua_pushstring(L, e.msg);
		return 2;
	}
	lua_push_json(L, *slot);
	return 1;
}

/* Marks a table as a list, so that an empty one is sent as []. */
static int
l_array(lua_State *L)
{
	if (lua_isnone(L, 1))
		lua_newtable(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_newmetatable(L, ARRAY);
	lua_setmetatable(L, 1);
	lua_settop(L, 1);
	return 1;
}

int
luaopen_json(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "encode", l_encode },
		{ "decode", l_decode },
		{ "array", l_array },
		{ 0 },
	};

	luaL_newlib(L, functions);
	return 1;
}
