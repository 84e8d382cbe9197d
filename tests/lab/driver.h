/*
 * tests/lab/driver.h - fh-lab: a Lua interpreter for scenarios, with the module `fh` built in.
 *
 * A wrong argument raises (a bug in the scenario); what fails in the world returns nil, sentence, errno.
 * Each driver_*.c adds its functions to the table fh.
 */
#ifndef TESTS_LAB_DRIVER_H
#define TESTS_LAB_DRIVER_H

#include <jansson.h>
#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>

#include "lib/err.h"

/* Pushes nil, sentence, errno. */
int driver_fail(lua_State *L, const struct err *e);
/* The same from errno. */
int driver_fail_sys(lua_State *L, const char *what);

/* Descriptors: userdata that close themselves. driver_fd_push takes fd. */
void driver_fd_push(lua_State *L, int fd);
/* The descriptor of the userdata at idx; raises if it is none, or closed. */
int driver_fd_check(lua_State *L, int idx);
/* The same without raising: -1. */
int driver_fd_test(lua_State *L, int idx);

/* Descriptors found in a Lua value while it became JSON: each stands there as its index. */
struct driver_fds {
	int fd[64];
	size_t n;
};
/* The value at idx as JSON (new reference); raises for what JSON does not have. */
json_t *driver_json_from(lua_State *L, int idx, struct driver_fds *fds);
void driver_json_push(lua_State *L, const json_t *v);

/* Each adds functions to the table on top of the stack. */
void driver_open_fd(lua_State *L);
void driver_open_process(lua_State *L);
void driver_open_json(lua_State *L);
void driver_open_control(lua_State *L);
void driver_open_net(lua_State *L);
void driver_open_dm(lua_State *L);

/* Ends every process that came from this one, however it was left. */
void driver_end_children(void);

#endif
