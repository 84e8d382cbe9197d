/*
 * sconfig/link_rpc.c - calls by lib/rpc_client.h.
 */
#include "sconfig/link_rpc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

static bool
read_answer(char *out, size_t size, bool echo)
{
	struct termios before, quiet;
	bool is_tty = tcgetattr(0, &before) == 0, ok;

	if (is_tty && !echo) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(0, TCSAFLUSH, &quiet);
	}
	ok = fgets(out, (int)size, stdin) != NULL;
	if (is_tty && !echo) {
		tcsetattr(0, TCSANOW, &before);
		puts("");
	}
	if (ok)
		out[strcspn(out, "\r\n")] = '\0';
	return ok;
}

static int
ask_password(void *ctx, const char *user, const char *host, char *out, size_t size)
{
	struct link_rpc *l = ctx;

	if (!l->password[0]) {
		if (!l->may_ask)
			return -1;
		printf("Password of %s at %s: ", user, host);
		fflush(stdout);
		if (!read_answer(l->password, sizeof(l->password), false))
			return -1;
	}
	snprintf(out, size, "%s", l->password);
	return 0;
}

static bool
ask_pin(void *ctx, const char *host, const char *fingerprint)
{
	const struct link_rpc *l = ctx;
	char answer[16] = "", upper[RPC_FINGERPRINT_SIZE];
	size_t n = 0;

	if (!l->may_ask)
		return false;
	for (; fingerprint[n] && n + 1 < sizeof(upper); n++) /* as the host's own menu shows it */
		upper[n] = (char)toupper((unsigned char)fingerprint[n]);
	upper[n] = '\0';
	printf("%s is met for the first time. The fingerprint of its certificate is\n    %s\n"
	       "Compare it with the one that its menu shows (option 0). Is it the same? [no] ",
	    host, upper);
	fflush(stdout);
	return read_answer(answer, sizeof(answer), true) && (answer[0] == 'y' || answer[0] == 'Y');
}

static bool
interrupted(void *ctx)
{
	const struct link_rpc *l = ctx;

	return l->ended && *l->ended;
}

static int
open_rpc(void *ctx, struct rpc_error *e)
{
	struct link_rpc *l = ctx;
	struct rpc_options o = { .timeout_ms = CONNECT_MS,
		.password = ask_password,
		.pin = ask_pin,
		.interrupted = interrupted,
		.ctx = l };

	return l->client ? rpc_reconnect(l->client, e) : rpc_open(&l->client, l->host, &o, e);
}

static int
call_rpc(void *ctx, const char *method, json_t *params, int timeout_ms, json_t **result, struct rpc_error *e)
{
	struct link_rpc *l = ctx;

	return rpc_call(l->client, method, params, timeout_ms, result, e);
}

static json_t *
next_event(void *ctx)
{
	struct link_rpc *l = ctx;

	return l->client ? rpc_next_event(l->client, 0, NULL) : NULL;
}

static bool
is_connected(void *ctx)
{
	struct link_rpc *l = ctx;

	return l->client && rpc_connected(l->client);
}

const struct link_ops link_rpc_ops = {
	.open = open_rpc,
	.call = call_rpc,
	.next_event = next_event,
	.connected = is_connected,
};

void
link_rpc_close(struct link_rpc *l)
{
	rpc_close(l->client);
	l->client = NULL;
	explicit_bzero(l->password, sizeof(l->password));
}
