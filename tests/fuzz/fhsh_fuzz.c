/*
 * tests/fuzz/fhsh_fuzz.c - what a host may answer to the shell. The first byte chooses: a document through
 * Lua and back, which must be the same; an answer with its schema, laid out as a table; a catalogue, with
 * help, completion and commands on it.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lib/rpc_client_private.h"
#include "lib/schema.h"
#include "lib/text.h"
#include "shell/command.h"
#include "shell/complete.h"
#include "shell/help.h"
#include "shell/lua_json.h"
#include "shell/out.h"
#include "shell/table.h"
#include "tests/fuzz/fuzz.h"

static lua_State *L;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1);
	L = luaL_newstate();
	must(L);
	return 0;
}

static void
through_lua(const json_t *doc)
{
	char why[100];
	json_t *back;

	lua_push_json(L, doc);
	back = lua_to_json(L, -1, NULL, why, sizeof(why));
	must(back && json_equal(doc, back));
	json_decref(back);
	lua_settop(L, 0);
	lua_gc(L, LUA_GCCOLLECT);
}

/* Nothing that a terminal would obey; a line is never wider than asked for, but for what cannot be cut. */
static void
as_table(const json_t *doc, size_t width)
{
	char *text = NULL, *rest, *line;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	must(f);
	table_answer(f, json_object_get(doc, "answer"), json_object_get(doc, "schema"), width);
	fclose(f);
	must(strlen(text) == size);
	for (rest = text; (line = strsep(&rest, "\n"));)
		must(text_is_clean(line, strlen(line)));
	free(text);
}

static void
as_catalogue(json_t *doc)
{
	static const char *const lines[] = { "a b c d=e", "vm create x memory=2G --yes", "a.b{c=", "help a",
		"a" };
	const struct name_source none = { 0 };
	struct catalogue c;
	FILE *f = fopen("/dev/null", "w");

	must(f);
	if (catalogue_read(&c, json_incref(doc))) {
		help_write(f, &c, "", 60);
		for (size_t i = 0; i < c.n; i++)
			help_write(f, &c, c.op[i].name, 60);
		for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
			struct candidates found;
			struct command cmd;
			struct usage u;

			complete(&found, &c, lines[i], strlen(lines[i]), &none);
			candidates_free(&found);
			if (command_is(&c, lines[i]) && command_parse(&cmd, &c, lines[i], &u))
				free(command_as_lua(cmd.op, cmd.params));
			if (command_is(&c, lines[i]))
				command_free(&cmd);
		}
		catalogue_free(&c);
	}
	fclose(f);
}

static void
as_error(const json_t *doc)
{
	struct rpc_error e;

	rpc_fail_remote(&e, doc);
	must(e.code != 0 && text_is_clean(e.message, strlen(e.message)) && e.message[0]);
	must(text_is_clean(e.hint, strlen(e.hint)) && text_is_clean(e.path, strlen(e.path)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *doc;

	if (size < 2)
		return 0;
	doc = schema_parse((const char *)data + 1, size - 1, NULL);
	if (!doc)
		return 0;
	switch (data[0] % 4) {
	case 0:
		through_lua(doc);
		break;
	case 1:
		as_table(doc, data[0] / 4);
		break;
	case 2:
		as_catalogue(doc);
		break;
	default:
		as_error(doc);
	}
	json_decref(doc);
	return 0;
}
