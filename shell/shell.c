/*
 * shell/shell.c - what becomes of a line.
 */
#include "shell/shell.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shell/command.h"
#include "shell/help.h"
#include "shell/lua_rpc.h"
#include "shell/out.h"
#include "shell/prompt.h"

enum { NAMES_MS = 3000 };

#define SCRIPTS "/usr/share/freehold/scripts"

static const char blanks[] = " \t\r\n";

static const char *
scripts_folder(void)
{
	const char *given = getenv("FREEHOLD_SCRIPTS");

	return given ? given : SCRIPTS;
}

/* --- Lua ---------------------------------------------------------------------------------------- */

static int
open_protected(lua_State *L)
{
	struct shell *sh = lua_touserdata(L, 1);

	luaL_openlibs(L);
	lua_rpc_open(L, &sh->s);
	lua_getglobal(L, "package");
	lua_pushfstring(L, "%s/?.lua;", scripts_folder());
	lua_getfield(L, -2, "path");
	lua_concat(L, 2);
	lua_setfield(L, -2, "path");
	return 0;
}

bool
shell_open(struct shell *sh)
{
	sh->s.strict = true;
	sh->taught = calloc(sh->s.cat.n, sizeof(*sh->taught));
	sh->L = luaL_newstate();
	if (!sh->L || !sh->taught)
		return false;
	lua_pushcfunction(sh->L, open_protected);
	lua_pushlightuserdata(sh->L, sh);
	if (lua_pcall(sh->L, 1, 0, 0) != LUA_OK)
		return false;
	session_catch_interrupt(lua_rpc_interrupt);
	return true;
}

void
shell_close(struct shell *sh)
{
	if (sh->L)
		lua_close(sh->L);
	sh->L = NULL;
	free(sh->taught);
	sh->taught = NULL;
}

/* Adds a traceback to what is no error of the host and no text yet seen by a person. */
static int
on_error(lua_State *L)
{
	struct rpc_error e;
	const char *text;

	if (lua_rpc_error(L, 1, &e))
		return 1;
	text = luaL_tolstring(L, 1, NULL);
	luaL_traceback(L, L, text, 1);
	return 1;
}

/* Shows the error on top of the stack, and takes it. With traceback only where a script is debugged. */
static void
show_lua_error(struct shell *sh, bool script)
{
	lua_State *L = sh->L;
	struct rpc_error e;
	const char *text;

	sh->exit_code = EXIT_FAILED;
	if (lua_rpc_error(L, -1, &e)) {
		sh->exit_code = session_exit_code(&e);
		if (script) {
			lua_getfield(L, -1, "where");
			fputs(lua_isstring(L, -1) ? lua_tostring(L, -1) : "", stderr);
			lua_pop(L, 1);
		}
		session_show_error(&e);
	} else {
		text = luaL_tolstring(L, -1, NULL);
		fflush(stdout);
		out_clean(stderr, text, true);
		fputc('\n', stderr);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* The function and its n arguments are on the stack. */
static bool
run(struct shell *sh, int n, int results, bool script)
{
	int base = lua_gettop(sh->L) - n, rc;

	lua_sethook(sh->L, NULL, 0, 0); /* a Ctrl-C of before */
	session_interrupted();
	if (script) {
		lua_pushcfunction(sh->L, on_error);
		lua_insert(sh->L, base);
	}
	rc = lua_pcall(sh->L, n, results, script ? base : 0);
	if (script)
		lua_remove(sh->L, base);
	if (rc != LUA_OK)
		show_lua_error(sh, script);
	return rc == LUA_OK;
}

static bool
is_incomplete(lua_State *L)
{
	size_t len;
	const char *text = lua_tolstring(L, -1, &len);

	return text && len >= 5 && strcmp(text + len - 5, "<eof>") == 0;
}

/* Compiles a line: as an expression, else as a statement. LUA_OK with the function on the stack. */
static int
compile(lua_State *L, const char *line)
{
	int rc;

	lua_pushfstring(L, "return %s", line);
	rc = luaL_loadbufferx(L, lua_tostring(L, -1), strlen(lua_tostring(L, -1)), "=fhsh", "t");
	lua_remove(L, -2);
	if (rc == LUA_OK)
		return rc;
	lua_pop(L, 1);
	return luaL_loadbufferx(L, line, strlen(line), "=fhsh", "t");
}

static int
show_protected(lua_State *L)
{
	lua_rpc_show(L, 1);
	return 0;
}

static enum line_result
lua_line(struct shell *sh, const char *line)
{
	lua_State *L = sh->L;
	int rc;

	lua_settop(L, 0);
	rc = compile(L, line);
	if (rc == LUA_ERRSYNTAX && is_incomplete(L))
		return LINE_INCOMPLETE;
	if (rc != LUA_OK) {
		show_lua_error(sh, false);
		return LINE_DONE;
	}
	if (!run(sh, 0, LUA_MULTRET, false) || lua_gettop(L) == 0)
		return LINE_DONE;
	lua_pushcfunction(L, show_protected);
	lua_insert(L, 1);
	run(sh, lua_gettop(L) - 1, 0, false);
	return LINE_DONE;
}

/* --- commands ----------------------------------------------------------------------------------- */

static void
teach(struct shell *sh, const struct command *cmd)
{
	size_t i = (size_t)(cmd->op - sh->s.cat.op);
	char *lua;

	if (!sh->teach || sh->taught[i])
		return;
	sh->taught[i] = true;
	lua = command_as_lua(cmd->op, cmd->params);
	if (lua) {
		fputs("-- ", stderr);
		out_clean(stderr, lua, false);
		fputc('\n', stderr);
	}
	free(lua);
}

static void
command_line(struct shell *sh, const char *line)
{
	struct call_options o = { 0 };
	struct session shown = sh->s;
	struct command cmd;
	struct usage u;
	struct rpc_error e;
	json_t *result = NULL;

	if (!command_parse(&cmd, &sh->s.cat, line, &u)) {
		session_usage(&e, &u);
		session_show_error(&e);
		sh->exit_code = EXIT_REFUSED;
		command_free(&cmd);
		return;
	}
	teach(sh, &cmd);
	o.yes = cmd.yes;
	o.what_if = cmd.what_if;
	o.background = cmd.background;
	shown.json = sh->s.json || cmd.json;
	if (session_call(&sh->s, cmd.op, json_incref(cmd.params), &o, &result, &e) < 0) {
		session_show_error(&e);
		sh->exit_code = session_exit_code(&e);
	} else {
		session_show(&shown, cmd.op, result);
	}
	json_decref(result);
	command_free(&cmd);
}

/* "help", "help vm create": but help() and help"vm" are Lua. */
static bool
is_help(const char *line)
{
	const char *rest = line + 4;

	return strncmp(line, "help", 4) == 0 &&
	       (!rest[strspn(rest, blanks)] ||
		   (strchr(" \t", *rest) && !strchr("(\"'{=[", rest[strspn(rest, blanks)])));
}

static bool
is_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	return strncmp(line, word, n) == 0 && !line[n + strspn(line + n, blanks)];
}

enum line_result
shell_line(struct shell *sh, const char *line)
{
	line += strspn(line, blanks);
	sh->exit_code = EXIT_OK;
	if (!*line)
		return LINE_DONE;
	if (is_word(line, "exit") || is_word(line, "quit")) {
		sh->quit = true;
	} else if (is_help(line)) {
		if (!help_write(stdout, &sh->s.cat, line + 4, out_columns(STDOUT_FILENO)))
			sh->exit_code = EXIT_REFUSED;
	} else if (command_is(&sh->s.cat, line)) {
		command_line(sh, line);
	} else {
		return lua_line(sh, line);
	}
	return LINE_DONE;
}

/* --- names for completion ----------------------------------------------------------------------- */

/* Adds member `key` (or the first that is text) of every row of a list that the host gives. */
static void
add_rows(struct shell *sh, const char *method, json_t *params, const char *prefix, struct candidates *out)
{
	static const char *const keys[] = { "path", "name", "job", "id" };
	bool paths = strcmp(method, "file.list") == 0;
	const char *name;
	json_t *answer, *rows, *row;
	size_t i;

	if (rpc_call(sh->s.rpc, method, params, NAMES_MS, &answer, NULL) < 0)
		return;
	json_object_foreach(answer, name, rows)
	{
		json_array_foreach(rows, i, row)
		{
			for (size_t k = paths ? 0 : 1; k < sizeof(keys) / sizeof(keys[0]); k++) {
				const char *s = json_string_value(json_object_get(row, keys[k]));

				if (!s)
					continue;
				candidates_add(out, prefix, s);
				break;
			}
		}
	}
	json_decref(answer);
}

static void
name_things(void *ctx, const char *noun, const char *prefix, struct candidates *out)
{
	char method[120];

	snprintf(method, sizeof(method), "%s.list", noun);
	add_rows(ctx, method, NULL, prefix, out);
}

static void
name_paths(void *ctx, const char *prefix, struct candidates *out)
{
	struct shell *sh = ctx;
	const char *slash = strrchr(prefix, '/');
	json_t *params = slash ? json_pack("{s:s%}", "folder", prefix, (size_t)(slash - prefix)) : NULL;

	if (catalogue_find(&sh->s.cat, "file.list", 9))
		add_rows(sh, "file.list", params, prefix, out);
	else
		json_decref(params);
}

static void
name_globals(void *ctx, const char *prefix, struct candidates *out)
{
	lua_State *L = ((struct shell *)ctx)->L;

	lua_pushglobaltable(L);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -2)[0] != '_')
			candidates_add(out, prefix, lua_tostring(L, -2));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* --- the prompt --------------------------------------------------------------------------------- */

/* Takes another line; what was there becomes one text with it. False: memory is out. */
static bool
append_line(char **text, const char *line)
{
	size_t before = *text ? strlen(*text) + 1 : 0;
	char *grown = realloc(*text, before + strlen(line) + 1);

	if (!grown)
		return false;
	if (before)
		grown[before - 1] = '\n';
	memcpy(grown + before, line, strlen(line) + 1);
	*text = grown;
	return true;
}

void
shell_prompt(struct shell *sh)
{
	const struct name_source names = {
		.things = name_things,
		.paths = name_paths,
		.globals = name_globals,
		.ctx = sh,
	};
	char first[320], more[320], *text = NULL, *line;
	enum prompt_result got;

	snprintf(first, sizeof(first), "%s%sfhsh> ", sh->s.where, *sh->s.where ? " " : "");
	snprintf(more, sizeof(more), "%*s", (int)out_width(first), "...> ");
	prompt_open(&sh->s.cat, &names);
	while (!sh->quit && (got = prompt_read(text ? more : first, &line)) != PROMPT_END) {
		if (got == PROMPT_BROKEN_OFF || !append_line(&text, line)) {
			free(text);
			text = NULL;
			continue;
		}
		free(line);
		if (shell_line(sh, text) == LINE_INCOMPLETE)
			continue;
		prompt_remember(&sh->s.cat, text);
		free(text);
		text = NULL;
	}
	if (!sh->quit)
		putchar('\n');
	free(text);
	prompt_close();
	sh->exit_code = EXIT_OK;
}

void
shell_stdin(struct shell *sh)
{
	char *text = NULL, *line = NULL;
	size_t size = 0;
	ssize_t n;

	while (!sh->quit && sh->exit_code == EXIT_OK && (n = getline(&line, &size, stdin)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (!append_line(&text, line))
			break;
		if (shell_line(sh, text) == LINE_INCOMPLETE)
			continue;
		free(text);
		text = NULL;
	}
	if (text && sh->exit_code == EXIT_OK) {
		fputs("the input ends in the middle of a statement\n", stderr);
		sh->exit_code = EXIT_FAILED;
	}
	free(text);
	free(line);
}

/* --- scripts ------------------------------------------------------------------------------------ */

static void
find_script(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s", name);
	if (strchr(name, '/') || access(name, R_OK) == 0)
		return;
	snprintf(path, size, "%s/%s", scripts_folder(), name);
	if (access(path, R_OK) != 0)
		snprintf(path, size, "%s/%s.lua", scripts_folder(), name);
	if (access(path, R_OK) != 0)
		snprintf(path, size, "%s", name);
}

void
shell_script(struct shell *sh, int argc, char **argv)
{
	lua_State *L = sh->L;
	char path[1024];

	find_script(argv[0], path, sizeof(path));
	lua_createtable(L, argc, 1);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	lua_setglobal(L, "arg");
	if (luaL_loadfilex(L, path, "t") != LUA_OK) {
		show_lua_error(sh, true);
		sh->exit_code = EXIT_REFUSED;
		return;
	}
	luaL_checkstack(L, argc + 4, "arguments");
	for (int i = 1; i < argc; i++)
		lua_pushstring(L, argv[i]);
	if (run(sh, argc - 1, 1, true)) {
		/* "return false" and "return 2" are exit codes. */
		if (lua_isinteger(L, -1))
			sh->exit_code = (int)lua_tointeger(L, -1) & 0xff;
		else if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
			sh->exit_code = EXIT_FAILED;
	}
}
