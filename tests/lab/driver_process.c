/*
 * tests/lab/driver_process.c - processes and time in Lua.
 *
 *   fh.spawn({argv...}, {stdin=fd, stdout=fd, stderr=fd, cgroup=folder}) -> pid
 *   fh.wait(pid, ms) -> "exit", status | "signal", number | nil, sentence, ETIMEDOUT
 *   fh.kill(pid, signal number)   fh.now() seconds, monotonic   fh.sleep(seconds)   fh.pid()
 */
#include "tests/lab/driver.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 64 };

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
fh_now(lua_State *L)
{
	lua_pushnumber(L, now());
	return 1;
}

static void
sleep_for(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static int
fh_sleep(lua_State *L)
{
	sleep_for(luaL_checknumber(L, 1));
	return 0;
}

static int
fh_pid(lua_State *L)
{
	lua_pushinteger(L, getpid());
	return 1;
}

static int
fh_kill(lua_State *L)
{
	if (kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_optinteger(L, 2, SIGKILL)) < 0)
		return driver_fail_sys(L, "kill");
	lua_pushboolean(L, 1);
	return 1;
}

/* The option's descriptor, or -1. */
static int
fd_option(lua_State *L, int idx, const char *name)
{
	int fd = -1;

	if (!lua_istable(L, idx))
		return -1;
	if (lua_getfield(L, idx, name) != LUA_TNIL)
		fd = driver_fd_check(L, -1);
	lua_pop(L, 1);
	return fd;
}

static void
join_cgroup(const char *folder)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(126);
	close(fd);
}

static void
child(const char **argv, const int *std, const char *cgroup)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	for (int i = 0; i < 3; i++)
		if (std[i] >= 0 && dup2(std[i], i) < 0)
			_exit(126);
	if (cgroup)
		join_cgroup(cgroup);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int
fh_spawn(lua_State *L)
{
	const char *argv[ARGS_MAX + 1] = { 0 }, *cgroup = NULL;
	int std[3] = { fd_option(L, 2, "stdin"), fd_option(L, 2, "stdout"), fd_option(L, 2, "stderr") };
	pid_t pid;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkstack(L, ARGS_MAX + 8, NULL);
	if (lua_istable(L, 2) && lua_getfield(L, 2, "cgroup") == LUA_TSTRING)
		cgroup = lua_tostring(L, -1);
	for (int i = 0; i < ARGS_MAX && lua_geti(L, 1, i + 1) != LUA_TNIL; i++)
		argv[i] = luaL_checkstring(L, -1); /* kept alive by the Lua stack */
	luaL_argcheck(L, argv[0], 1, "no program");
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(argv, std, cgroup);
	if (pid < 0)
		return driver_fail_sys(L, "fork");
	lua_pushinteger(L, pid);
	return 1;
}

static int
fh_wait(lua_State *L)
{
	pid_t pid = (pid_t)luaL_checkinteger(L, 1), got;
	lua_Integer ms = luaL_optinteger(L, 2, -1);
	double until = now() + (double)ms / 1000;
	int status = 0;

	while ((got = waitpid(pid, &status, ms < 0 ? 0 : WNOHANG)) == 0 && now() < until)
		sleep_for(0.002);
	if (got == 0)
		errno = ETIMEDOUT;
	if (got <= 0)
		return driver_fail_sys(L, "wait");
	lua_pushstring(L, WIFSIGNALED(status) ? "signal" : "exit");
	lua_pushinteger(L, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 2;
}

static pid_t
parent_of(const char *pid)
{
	char path[300], text[512], *end;
	int fd, parent = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	end = strrchr(text, ')');
	if (end)
		sscanf(end + 1, " %*c %d", &parent);
	return parent;
}

/* Kills the processes whose parent is this one; orphans of theirs come to it (subreaper). */
static int
kill_children(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && parent_of(e->d_name) == getpid()) {
			kill((pid_t)atoi(e->d_name), SIGKILL);
			n++;
		}
	if (d)
		closedir(d);
	return n;
}

void
driver_end_children(void)
{
	for (int tries = 0; tries < 1000 && kill_children() > 0; tries++) {
		sleep_for(0.002);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static const luaL_Reg functions[] = {
	{ "spawn", fh_spawn },
	{ "wait", fh_wait },
	{ "kill", fh_kill },
	{ "now", fh_now },
	{ "sleep", fh_sleep },
	{ "pid", fh_pid },
	{ NULL, NULL },
};

void
driver_open_process(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
