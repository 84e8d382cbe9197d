/*
 * shell/lua_rpc.h - the host in Lua: nouns are tables, methods functions, machines live handles.
 *
 *   vm.create{name="web1", memory="2G"}       vm.start("web1")        vm"web1":stop{mode="turnOff"}
 *   print(vm"web1".state)                     vm"web1".memory = "4G"
 *   for v in vms{state="Running"} do print(v.name) end
 *
 * A failed call raises a table {code, symbol, message, path, hint, where} whose text is one line, or,
 * after strict(false), returns nil, message, code, that table. A call that is wrong in itself (unknown
 * parameter, wrong type) always raises.
 */
#ifndef SHELL_LUA_RPC_H
#define SHELL_LUA_RPC_H

#include <lua.h>
#include <stdio.h>

#include "shell/session.h"

/* Makes the globals. s must outlive L. Call it protected: it raises when memory is out. */
int lua_rpc_open(lua_State *L, struct session *s);
/* Shows any number of values, the whole stack from index first on, as the prompt does. */
void lua_rpc_show(lua_State *L, int first);
/* Whether the value at index is an error of the host; fills e. */
bool lua_rpc_error(lua_State *L, int index, struct rpc_error *e);
/* Stops Lua code that runs, from the handler of SIGINT. */
void lua_rpc_interrupt(void);

#endif
