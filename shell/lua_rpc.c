/*
 * shell/lua_rpc.c - bindings made from the catalogue. One C function serves all methods.
 */
#include "shell/lua_rpc.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shell/convert.h"
#include "shell/help.h"
#include "shell/lua_json.h"
#include "shell/out.h"
#include "shell/table.h"

#define HANDLE "freehold.handle"
#define ERROR  "freehold.error"
#define NOUN   "freehold.noun"
#define LIST   "freehold.list"
#define ANSWER "freehold.answer"

/* A thing of the host, by name or id. User value 1: what was last seen of it, or nil. */
struct handle {
	const char *noun; /* the catalogue's */
	char id[256];
	int64_t seen_ns; /* when user value 1 was fetched */
};

enum { FRESH_MS = 1000 };

static struct session *
session_of(lua_State *L)
{
	struct session *s;

	lua_getfield(L, LUA_REGISTRYINDEX, "freehold.session");
	s = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return s;
}

/* --- interrupt ---------------------------------------------------------------------------------- */

static lua_State *running; /* for the handler of SIGINT: the state that lua_rpc_open was called with */

static void
stop_hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	lua_sethook(L, NULL, 0, 0);
	session_interrupted();
	luaL_error(L, "interrupted");
}

void
lua_rpc_interrupt(void)
{
	if (running)
		lua_sethook(running, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* --- errors ------------------------------------------------------------------------------------- */

static void
set_text(lua_State *L, const char *name, const char *text)
{
	if (!*text)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

static void
push_error(lua_State *L, const struct rpc_error *e)
{
	lua_newtable(L);
	lua_pushinteger(L, e->code);
	lua_setfield(L, -2, "code");
	set_text(L, "symbol", e->symbol);
	set_text(L, "message", e->message);
	set_text(L, "path", e->path);
	set_text(L, "hint", e->hint);
	set_text(L, "logId", e->log_id);
	luaL_where(L, 1);
	lua_setfield(L, -2, "where");
	luaL_setmetatable(L, ERROR);
}

/* A failed operation: raises, or returns nil, message, code, table. */
static int
fail(lua_State *L, const struct rpc_error *e)
{
	const struct session *s = session_of(L);

	lua_sethook(L, NULL, 0, 0); /* a Ctrl-C that ended the call is used up */
	push_error(L, e);
	if (s->strict || e->code == SESSION_USAGE)
		return lua_error(L);
	luaL_pushfail(L);
	lua_insert(L, -2);
	lua_pushstring(L, e->message);
	lua_insert(L, -2);
	lua_pushinteger(L, e->code);
	lua_insert(L, -2);
	return 4;
}

static void
get_text(lua_State *L, int index, const char *name, char *out, size_t size)
{
	lua_pushstring(L, name);
	lua_rawget(L, index);
	snprintf(out, size, "%s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "");
	lua_pop(L, 1);
}

bool
lua_rpc_error(lua_State *L, int index, struct rpc_error *e)
{
	bool is;

	index = lua_absindex(L, index);
	if (!lua_istable(L, index) || !lua_getmetatable(L, index))
		return false;
	luaL_getmetatable(L, ERROR);
	is = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	if (!is)
		return false;
	memset(e, 0, sizeof(*e));
	lua_pushliteral(L, "code");
	lua_rawget(L, index);
	e->code = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	get_text(L, index, "symbol", e->symbol, sizeof(e->symbol));
	get_text(L, index, "message", e->message, sizeof(e->message));
	get_text(L, index, "path", e->path, sizeof(e->path));
	get_text(L, index, "hint", e->hint, sizeof(e->hint));
	get_text(L, index, "logId", e->log_id, sizeof(e->log_id));
	return true;
}

static int
l_error_text(lua_State *L)
{
	struct rpc_error e;
	char where[200], *text;

	if (!lua_rpc_error(L, 1, &e))
		return luaL_error(L, "no error of the host");
	get_text(L, 1, "where", where, sizeof(where));
	text = session_error_text(&e);
	lua_pushfstring(L, "%s%s", where, text ? text : e.message);
	free(text);
	return 1;
}

static int
usage_error(lua_State *L, const struct usage *u)
{
	struct rpc_error e;

	session_usage(&e, u);
	return fail(L, &e);
}

/* --- arguments ---------------------------------------------------------------------------------- */

static const char *
handle_name(lua_State *L, int index)
{
	struct handle *h = luaL_testudata(L, index, HANDLE);

	return h ? h->id : NULL;
}

/* A member of the table of arguments that is not the host's business: taken out. */
static bool
take_flag(const struct operation *op, json_t *params, const char *name)
{
	bool given = !operation_param(op, name, strlen(name)) && json_is_true(json_object_get(params, name));

	if (!operation_param(op, name, strlen(name)))
		json_object_del(params, name);
	return given;
}

static bool
add_named(json_t *params, json_t *table)
{
	bool ok = json_is_object(table) && json_object_update(params, table) == 0;

	json_decref(table);
	return ok;
}

/* The arguments from index first on: values for the parameters in their order, then a table of names. */
static bool
collect(lua_State *L, const struct operation *op, int first, json_t *params, struct usage *u)
{
	int last = lua_gettop(L);
	size_t position = 0;
	char why[120];

	for (int i = first; i <= last; i++) {
		const struct param *p;
		json_t *v = lua_to_json(L, i, handle_name, why, sizeof(why));

		if (!v)
			return usage_set(u, "", NULL, "%s: argument %d: %s", op->name, i - first + 1, why);
		if (i == last && json_is_object(v)) {
			if (!add_named(params, v))
				return usage_set(u, "", NULL, "out of memory");
			break;
		}
		while ((p = convert_positional(op, position)) && json_object_get(params, p->name))
			position++;
		if (!p) {
			json_decref(v);
			return usage_set(u, "", "Give parameters by name, in a table.",
			    "%s: too many arguments", op->name);
		}
		json_object_set_new(params, p->name, v);
	}
	return true;
}

/* --- calls -------------------------------------------------------------------------------------- */

/* An answer remembers what it answers, so that it is shown with the right order and units. */
static void
push_answer(lua_State *L, const struct operation *op, const json_t *answer)
{
	lua_push_json(L, answer);
	if (!json_is_object(answer))
		return;
	lua_createtable(L, 0, 2);
	lua_pushlightuserdata(L, (void *)op);
	lua_setfield(L, -2, "operation");
	lua_pushliteral(L, ANSWER);
	lua_setfield(L, -2, "__name");
	lua_setmetatable(L, -2);
}

/* Calls op; *params is owned by a slot of the Lua stack, and taken from there. */
static int
call(lua_State *L, const struct operation *op, json_t **params)
{
	struct session *s = session_of(L);
	struct call_options o = {
		.yes = take_flag(op, *params, "confirm"),
		.background = take_flag(op, *params, "async"),
		.what_if = take_flag(op, *params, "dryRun"),
	};
	json_t **result, *given;
	struct usage u = { 0 };
	struct rpc_error e;

	if (!convert_params(op, *params, &u))
		return usage_error(L, &u);
	result = lua_new_json_slot(L);
	given = *params;
	*params = NULL;
	if (session_call(s, op, given, &o, result, &e) < 0)
		return fail(L, &e);
	push_answer(L, op, *result);
	return 1;
}

/* Upvalue 1: the operation. */
static int
l_call(lua_State *L)
{
	const struct operation *op = lua_touserdata(L, lua_upvalueindex(1));
	struct usage u = { 0 };
	json_t **params;

	lua_checkstack(L, 10);
	params = lua_new_json_slot(L);
	lua_insert(L, 1);
	*params = json_object();
	if (!collect(L, op, 2, *params, &u))
		return usage_error(L, &u);
	return call(L, op, params);
}

/* call("vm.list", {...}): for names that are no Lua names, or taken. */
static int
l_call_by_name(lua_State *L)
{
	const struct session *s = session_of(L);
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);
	const struct operation *op = catalogue_find(&s->cat, name, len);

	if (!op)
		return luaL_error(L, "this host has no method '%s'", name);
	lua_pushlightuserdata(L, (void *)op);
	lua_pushcclosure(L, l_call, 1);
	lua_replace(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* --- handles ------------------------------------------------------------------------------------ */

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static struct handle *
push_handle(lua_State *L, const char *noun, const char *id)
{
	struct handle *h = lua_newuserdatauv(L, sizeof(*h), 1);

	memset(h, 0, sizeof(*h));
	h->noun = noun;
	snprintf(h->id, sizeof(h->id), "%s", id);
	luaL_setmetatable(L, HANDLE);
	return h;
}

/* h:verb(...): upvalue 1 is the operation, argument 1 the handle. */
static int
l_handle_call(lua_State *L)
{
	const struct operation *op = lua_touserdata(L, lua_upvalueindex(1));
	struct handle *h = luaL_checkudata(L, 1, HANDLE);
	const struct param *p = operation_identity(op);
	struct usage u = { 0 };
	json_t **params;

	lua_checkstack(L, 10);
	params = lua_new_json_slot(L);
	lua_insert(L, 1);
	*params = json_object();
	if (p)
		json_object_set_new(*params, p->name, json_string(h->id));
	if (!collect(L, op, 3, *params, &u))
		return usage_error(L, &u);
	return call(L, op, params);
}

/* Pushes the members of a thing: of noun.get's answer the object that it is about. Raises. */
static void
push_members(lua_State *L, const char *noun, const char *id)
{
	const struct session *s = session_of(L);
	const struct operation *op = catalogue_verb(&s->cat, noun, "get");
	const struct param *p = op ? operation_identity(op) : NULL;
	bool named = p && *id;

	if (!op || (*id && !p))
		luaL_error(L, "%s has no properties", noun);
	lua_pushlightuserdata(L, (void *)op);
	lua_pushcclosure(L, l_call, 1);
	if (named)
		lua_pushstring(L, id);
	lua_call(L, named ? 1 : 0, 1);
	if (lua_istable(L, -1) && lua_getfield(L, -1, noun) == LUA_TTABLE)
		lua_remove(L, -2);
	else if (lua_gettop(L) > 1 && !lua_istable(L, -1))
		lua_pop(L, 1);
}

static int
l_handle_index(lua_State *L)
{
	struct handle *h = luaL_checkudata(L, 1, HANDLE);
	const struct session *s = session_of(L);
	const char *name = luaL_checkstring(L, 2);
	const struct operation *op = catalogue_verb(&s->cat, h->noun, name);

	if (op) {
		lua_pushlightuserdata(L, (void *)op);
		lua_pushcclosure(L, l_handle_call, 1);
		return 1;
	}
	if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE || now_ms() - h->seen_ns > FRESH_MS ||
	    lua_getfield(L, -1, name) == LUA_TNIL) {
		lua_settop(L, 2);
		push_members(L, h->noun, h->id);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, 1, 1);
		h->seen_ns = now_ms();
		lua_getfield(L, -1, name);
	}
	return 1;
}

/* vm"web1".memory = "4G" is vm.set{vm="web1", memory="4G"}. */
static int
set_member(lua_State *L, const char *noun, const char *id)
{
	const struct session *s = session_of(L);
	const struct operation *op = catalogue_verb(&s->cat, noun, "set");
	const struct param *p = op ? operation_identity(op) : NULL;

	luaL_checkstring(L, 2);
	if (!op)
		return luaL_error(L, "%s cannot be changed", noun);
	lua_pushlightuserdata(L, (void *)op);
	lua_pushcclosure(L, l_call, 1);
	lua_newtable(L);
	if (*id && p) {
		lua_pushstring(L, id);
		lua_setfield(L, -2, p->name);
	}
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 3);
	lua_settable(L, -3);
	lua_call(L, 1, 0);
	return 0;
}

static int
l_handle_newindex(lua_State *L)
{
	struct handle *h = luaL_checkudata(L, 1, HANDLE);

	h->seen_ns = INT64_MIN / 2;
	return set_member(L, h->noun, h->id);
}

static int
l_handle_text(lua_State *L)
{
	struct handle *h = luaL_checkudata(L, 1, HANDLE);

	lua_pushfstring(L, "%s %s", h->noun, h->id);
	return 1;
}

static int
l_handle_eq(lua_State *L)
{
	struct handle *a = luaL_testudata(L, 1, HANDLE), *b = luaL_testudata(L, 2, HANDLE);

	lua_pushboolean(L, a && b && strcmp(a->noun, b->noun) == 0 && strcmp(a->id, b->id) == 0);
	return 1;
}

/* --- nouns -------------------------------------------------------------------------------------- */

/* The noun of the table at index 1, for the metamethods below. */
static const char *
noun_at(lua_State *L)
{
	const char *noun;

	lua_getmetatable(L, 1);
	lua_getfield(L, -1, "noun");
	noun = lua_touserdata(L, -1);
	lua_pop(L, 2);
	return noun;
}

/* vm"web1" */
static int
l_noun_call(lua_State *L)
{
	const struct operation *op;
	const char *noun = noun_at(L), *id = handle_name(L, 2);

	id = id ? id : luaL_checkstring(L, 2);
	op = catalogue_verb(&session_of(L)->cat, noun, "get");
	if (!op || !operation_identity(op))
		op = catalogue_verb(&session_of(L)->cat, noun, "delete");
	if (!op || !operation_identity(op))
		return luaL_error(L, "there are no single things called %s", noun);
	push_handle(L, noun, id);
	return 1;
}

/* host.name: a property of what there is one of. */
static int
l_noun_index(lua_State *L)
{
	const char *noun = noun_at(L), *name = luaL_checkstring(L, 2);
	const struct session *s = session_of(L);
	const struct operation *op = catalogue_verb(&s->cat, noun, "get");
	const char *near;

	if (op && !convert_positional(op, 0)) {
		push_members(L, noun, "");
		if (lua_getfield(L, -1, name) != LUA_TNIL)
			return 1;
	}
	near = catalogue_nearest_verb(&s->cat, noun, name);
	return luaL_error(L, near ? "%s has no '%s'; did you mean %s?" : "%s has no '%s'", noun, name, near);
}

static int
l_noun_newindex(lua_State *L)
{
	return set_member(L, noun_at(L), "");
}

static int
l_noun_text(lua_State *L)
{
	lua_pushfstring(L, "%s (see help \"%s\")", noun_at(L), noun_at(L));
	return 1;
}

/* --- lists of handles --------------------------------------------------------------------------- */

/* The member that tells rows apart. */
static const char *
row_id(const json_t *row)
{
	static const char *const names[] = { "id", "job", "name", "path" };
	const char *s = NULL;

	for (size_t i = 0; !s && i < sizeof(names) / sizeof(names[0]); i++)
		s = json_string_value(json_object_get(row, names[i]));
	return s;
}

static const json_t *
rows_of(const json_t *answer)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)answer, name, v)
	{
		if (json_is_array(v))
			return v;
	}
	return NULL;
}

static void
push_rows(lua_State *L, const char *noun, const json_t *answer)
{
	const json_t *row, *rows = rows_of(answer);
	size_t i;

	lua_newtable(L);
	json_array_foreach(rows, i, row)
	{
		const char *id = row_id(row);
		struct handle *h;

		if (id) {
			h = push_handle(L, noun, id);
			h->seen_ns = now_ms();
			lua_push_json(L, row);
			lua_setiuservalue(L, -2, 1);
		} else {
			lua_push_json(L, row);
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	luaL_setmetatable(L, LIST);
}

/* vms{state="Running"}: upvalue 1 is noun.list. */
static int
l_things(lua_State *L)
{
	const struct operation *op = lua_touserdata(L, lua_upvalueindex(1));
	struct session *s = session_of(L);
	struct call_options o = { 0 };
	struct usage u = { 0 };
	struct rpc_error e;
	json_t **params, **result, *given;

	lua_checkstack(L, 10);
	params = lua_new_json_slot(L);
	lua_insert(L, 1);
	*params = json_object();
	if (!collect(L, op, 2, *params, &u) || !convert_params(op, *params, &u))
		return usage_error(L, &u);
	result = lua_new_json_slot(L);
	given = *params;
	*params = NULL;
	if (session_call(s, op, given, &o, result, &e) < 0)
		return fail(L, &e);
	push_rows(L, op->noun, *result);
	return 1;
}

/* for v in vms{} do: a list is its own iterator; how far it is stands at [0]. */
static int
l_list_next(lua_State *L)
{
	lua_Integer at;

	lua_rawgeti(L, 1, 0);
	at = lua_tointeger(L, -1) + 1;
	if (lua_rawgeti(L, 1, at) == LUA_TNIL)
		at = 0;
	lua_pushinteger(L, at);
	lua_rawseti(L, 1, 0);
	return 1;
}

/* --- the shell's own functions ------------------------------------------------------------------ */

static int
l_help(lua_State *L)
{
	const struct session *s = session_of(L);
	const char *topic = "";

	if (luaL_getmetafield(L, 1, "noun") == LUA_TLIGHTUSERDATA)
		topic = lua_touserdata(L, -1);
	else if (lua_tocfunction(L, 1) == l_call && lua_getupvalue(L, 1, 1))
		topic = ((const struct operation *)lua_touserdata(L, -1))->name;
	else
		topic = luaL_optstring(L, 1, "");
	help_write(stdout, &s->cat, topic, out_columns(fileno(stdout)));
	return 0;
}

/* Takes the dry run back whatever happened, and passes the error on. */
static int
l_whatif(lua_State *L)
{
	struct session *s = session_of(L);
	bool before = s->dry_run;
	int rc;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	s->dry_run = true;
	rc = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	s->dry_run = before;
	return rc == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int
l_strict(lua_State *L)
{
	struct session *s = session_of(L);

	lua_pushboolean(L, s->strict);
	if (!lua_isnone(L, 1))
		s->strict = lua_toboolean(L, 1);
	lua_replace(L, 1);
	return 1;
}

static int
l_sleep(lua_State *L)
{
	double seconds = luaL_checknumber(L, 1);
	struct timespec ts = { 0 };

	luaL_argcheck(L, seconds >= 0 && seconds < 1e6, 1, "seconds, from 0");
	ts.tv_sec = (time_t)seconds;
	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL); /* Ctrl-C ends it, and its hook the script */
	return 0;
}

static int
l_print_table(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_rpc_show(L, 1);
	return 0;
}

/* next_event([seconds]): the next one, or nil when none came. */
static int
l_next_event(lua_State *L)
{
	struct session *s = session_of(L);
	double seconds = luaL_optnumber(L, 1, -1);
	json_t **slot = lua_new_json_slot(L);
	struct rpc_error e;

	*slot = rpc_next_event(s->rpc,
	    seconds < 0     ? -1
	    : seconds > 1e6 ? 1000000000
			    : (int)(seconds * 1000),
	    &e);
	if (!*slot && e.code != RPC_TIMED_OUT)
		return fail(L, &e);
	if (*slot)
		lua_push_json(L, *slot);
	else
		lua_pushnil(L);
	return 1;
}

/* --- showing ------------------------------------------------------------------------------------ */

static const struct operation *
operation_of(lua_State *L, int index)
{
	const struct operation *op = NULL;

	if (!lua_istable(L, index) || !lua_getmetatable(L, index))
		return NULL;
	if (lua_getfield(L, -1, "operation") == LUA_TLIGHTUSERDATA)
		op = lua_touserdata(L, -1);
	lua_pop(L, 2);
	return op;
}

/* A list of handles as the rows that they were made of. */
static json_t *
rows_to_json(lua_State *L, int index)
{
	json_t *rows = json_array(), *row;
	size_t n = lua_rawlen(L, index);

	for (size_t i = 1; i <= n; i++) {
		lua_rawgeti(L, index, (lua_Integer)i);
		if (luaL_testudata(L, -1, HANDLE)) {
			lua_getiuservalue(L, -1, 1);
			lua_remove(L, -2);
		}
		row = lua_to_json(L, -1, handle_name, NULL, 0);
		lua_pop(L, 1);
		if (row)
			json_array_append_new(rows, row);
	}
	return rows;
}

static bool
is_list(lua_State *L, int index)
{
	bool is;

	if (!lua_istable(L, index) || !lua_getmetatable(L, index))
		return false;
	luaL_getmetatable(L, LIST);
	is = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return is;
}

/* Lua keeps no order of names: by the alphabet then. Takes the reference of v. */
static json_t *
sorted(json_t *v)
{
	char *text = v ? json_dumps(v, JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
	json_t *out = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	free(text);
	if (!out)
		return v;
	json_decref(v);
	return out;
}

static void
show_one(lua_State *L, int index)
{
	const struct session *s = session_of(L);
	const struct operation *op = operation_of(L, index);
	const json_t *schema = NULL;
	size_t width = out_columns(fileno(stdout));
	json_t *v = NULL;

	if (luaL_testudata(L, index, HANDLE) && !s->json) {
		struct handle *h = lua_touserdata(L, index);

		push_members(L, h->noun, h->id); /* raises when there is no such method */
		schema = catalogue_verb(&s->cat, h->noun, "get")->result;
		schema = json_object_get(json_object_get(schema, "properties"), h->noun);
		v = lua_to_json(L, -1, handle_name, NULL, 0);
		lua_pop(L, 1);
	} else if (is_list(L, index)) {
		v = rows_to_json(L, index);
	} else if (lua_istable(L, index) && luaL_getmetafield(L, index, "__tostring") == LUA_TNIL) {
		v = lua_to_json(L, index, handle_name, NULL, 0);
	} else if (lua_istable(L, index)) {
		lua_pop(L, 1);
	}
	v = sorted(v);
	if (v && (op || s->json)) {
		session_show(s, op, v);
	} else if (v) {
		table_answer(stdout, v, schema, width);
	} else {
		out_clean(stdout, luaL_tolstring(L, index, NULL), true);
		fputc('\n', stdout);
		lua_pop(L, 1);
	}
	json_decref(v);
}

void
lua_rpc_show(lua_State *L, int first)
{
	int last = lua_gettop(L);

	for (int i = first; i <= last; i++)
		show_one(L, i);
	fflush(stdout);
}

/* --- making the globals ------------------------------------------------------------------------- */

/* A table that is ours, as its metatable tells. */
static void
push_own_table(lua_State *L)
{
	lua_newtable(L);
	lua_newtable(L);
	lua_pushliteral(L, NOUN);
	lua_setfield(L, -2, "__name");
	lua_setmetatable(L, -2);
}

/* Pushes the table of a noun, made on first sight: "nic.vlan" is vlan within nic. False: the name is taken.
 */
static bool
push_noun(lua_State *L, const struct operation *op)
{
	const char *s = op->noun;
	size_t len;

	lua_pushglobaltable(L);
	for (;; s += len + 1) {
		len = strcspn(s, ".");
		lua_pushlstring(L, s, len);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) == LUA_TNIL) {
			lua_pop(L, 1);
			push_own_table(L);
			lua_pushvalue(L, -1);
			lua_insert(L, -4);
			lua_rawset(L, -3);
			lua_pop(L, 1);
		} else {
			lua_replace(L, -3);
			lua_pop(L, 1);
		}
		if (!lua_istable(L, -1))
			return false;
		if (!s[len])
			return true;
	}
}

/* Metamethods of one noun's table. Tables that are Lua's own (string, ...) stay as they are. */
static bool
dress_noun(lua_State *L, const struct operation *op)
{
	static const luaL_Reg meta[] = {
		{ "__call", l_noun_call },
		{ "__index", l_noun_index },
		{ "__newindex", l_noun_newindex },
		{ "__tostring", l_noun_text },
		{ 0 },
	};

	bool ours;

	if (!lua_getmetatable(L, -1))
		return false;
	ours = lua_getfield(L, -1, "__name") == LUA_TSTRING && strcmp(lua_tostring(L, -1), NOUN) == 0;
	lua_pop(L, 1);
	if (ours) {
		luaL_setfuncs(L, meta, 0);
		lua_pushlightuserdata(L, op->noun);
		lua_setfield(L, -2, "noun");
	}
	lua_pop(L, 1);
	return ours;
}

static void
add_plural(lua_State *L, const struct operation *op)
{
	char name[100];

	snprintf(name, sizeof(name), "%ss", op->noun);
	if (strcmp(op->verb, "list") != 0 || strchr(op->noun, '.') || lua_getglobal(L, name) != LUA_TNIL)
		return;
	lua_pushlightuserdata(L, (void *)op);
	lua_pushcclosure(L, l_things, 1);
	lua_setglobal(L, name);
}

static void
add_operations(lua_State *L, const struct catalogue *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct operation *op = &c->op[i];
		int top = lua_gettop(L);

		if (push_noun(L, op) && dress_noun(L, op)) {
			lua_pushstring(L, op->verb);
			lua_pushlightuserdata(L, (void *)op);
			lua_pushcclosure(L, l_call, 1);
			lua_rawset(L, -3);
			add_plural(L, op);
		}
		lua_settop(L, top);
	}
}

static void
new_class(lua_State *L, const char *name, const luaL_Reg *functions)
{
	luaL_newmetatable(L, name);
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
}

int
lua_rpc_open(lua_State *L, struct session *s)
{
	static const luaL_Reg handle[] = {
		{ "__index", l_handle_index },
		{ "__newindex", l_handle_newindex },
		{ "__tostring", l_handle_text },
		{ "__eq", l_handle_eq },
		{ 0 },
	};
	static const luaL_Reg error[] = { { "__tostring", l_error_text }, { 0 } };
	static const luaL_Reg list[] = { { "__call", l_list_next }, { 0 } };
	static const luaL_Reg globals[] = {
		{ "call", l_call_by_name },
		{ "help", l_help },
		{ "next_event", l_next_event },
		{ "print_table", l_print_table },
		{ "sleep", l_sleep },
		{ "strict", l_strict },
		{ "whatif", l_whatif },
		{ 0 },
	};

	lua_pushlightuserdata(L, s);
	lua_setfield(L, LUA_REGISTRYINDEX, "freehold.session");
	new_class(L, HANDLE, handle);
	new_class(L, ERROR, error);
	new_class(L, LIST, list);
	lua_pushglobaltable(L);
	luaL_setfuncs(L, globals, 0);
	lua_pop(L, 1);
	luaL_requiref(L, "json", luaopen_json, 1);
	lua_pop(L, 1);
	lua_push_null(L);
	lua_setglobal(L, "null");
	add_operations(L, &s->cat);
	running = L;
	return 0;
}
