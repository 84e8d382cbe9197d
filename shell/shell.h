/*
 * shell/shell.h - the shell: lines, scripts and the prompt on one session and one Lua state.
 */
#ifndef SHELL_SHELL_H
#define SHELL_SHELL_H

#include <lua.h>
#include <stdbool.h>

#include "shell/session.h"

struct shell {
	struct session s;
	lua_State *L;
	bool teach;    /* show a command in Lua, the first time */
	bool *taught;  /* by operation */
	bool quit;     /* exit was typed */
	int exit_code; /* of the last line or script */
};

enum line_result { LINE_DONE, LINE_INCOMPLETE };

/* The Lua state on a session that is open already; false when memory is out. */
bool shell_open(struct shell *sh);
void shell_close(struct shell *sh);

/* A command or Lua; what it gives is shown. LINE_INCOMPLETE: Lua that wants another line. Failures are
 * shown, and leave sh->exit_code at something else than EXIT_OK. */
enum line_result shell_line(struct shell *sh, const char *line);
/* The prompt, until exit or Ctrl-D. */
void shell_prompt(struct shell *sh);
/* Lines from standard input, up to the first failure. */
void shell_stdin(struct shell *sh);
/* A script; a name without '/' that is no file is looked for in the scripts' folder. argv[0] is its name. */
void shell_script(struct shell *sh, int argc, char **argv);

#endif
