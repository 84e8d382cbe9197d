/*
 * shell/lua_json.h - JSON documents as Lua values, and back.
 *
 * Objects become tables; arrays become tables marked by a metatable, so that an empty one stays an array;
 * null becomes `null`, a light userdata that is true in a condition. Whole numbers become integers.
 */
#ifndef SHELL_LUA_JSON_H
#define SHELL_LUA_JSON_H

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum { LUA_JSON_DEPTH = 32 };

/* Pushes v (borrowed). May raise when memory is out. Deeper than LUA_JSON_DEPTH is null. */
void lua_push_json(lua_State *L, const json_t *v);
/* The value at index: a new reference, or NULL with why (a sentence). Raises only when memory is out.
 * name_of (may be NULL) gives the text that stands for a userdata, or NULL. */
json_t *lua_to_json(
    lua_State *L, int index, const char *(*name_of)(lua_State *L, int index), char *why, size_t size);
/* Pushes the value `null`. */
void lua_push_null(lua_State *L);
/* A slot on the Lua stack that owns a reference: collected even when an error is raised. Set *slot. */
json_t **lua_new_json_slot(lua_State *L);
/* The table json with encode(value [, pretty]), decode(text), array(table): for luaL_requiref. */
int luaopen_json(lua_State *L);

#endif
