/* agent/spawn/children.c - the workers: started, found again, ended, and what they said last. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"
#include "lib/log.h"
#include "lib/text.h"

const char *const ending_names[] = { "Running", "Exit", "Signal", "Unknown", NULL };

enum { EXIT_HOST = 3 }; /* of fh-worker: this host lacks something */

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void
path_of(const struct spawner *s, const char *name, const char *suffix, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/workers/%s%s", s->run, name, suffix);
}

static int
open_pid(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- the table --------------------------------------------------------------------------------------- */

struct child *
children_get(struct spawner *s, const uint8_t id[GUID_BYTES])
{
	for (size_t i = 0; i < s->children; i++)
		if (memcmp(s->child[i]->id, id, GUID_BYTES) == 0)
			return s->child[i];
	return NULL;
}

static void
let_go(struct child *c)
{
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->first_fd >= 0)
		close(c->first_fd);
	if (c->log_fd >= 0)
		close(c->log_fd);
	free(c);
}

void
children_forget(struct spawner *s, struct child *c)
{
	for (size_t i = 0; i < s->children; i++)
		if (s->child[i] == c) {
			memmove(&s->child[i], &s->child[i + 1],
			    (s->children - i - 1) * sizeof(void *)); /* oldest first */
			s->children--;
			let_go(c);
			return;
		}
}

void
children_free(struct spawner *s)
{
	while (s->children > 0)
		let_go(s->child[--s->children]);
}

static bool
make_room(struct spawner *s)
{
	for (size_t i = 0; s->children == SPAWN_MAX && i < s->children; i++)
		if (s->child[i]->state == CHILD_ENDED)
			children_forget(s, s->child[i]);
	return s->children < SPAWN_MAX;
}

static struct child *
add(struct spawner *s, const uint8_t id[GUID_BYTES], struct err *e)
{
	struct child *c = NULL;

	if (make_room(s))
		c = calloc(1, sizeof(*c));
	else
		err_set(e, ENFILE, "%d machines run already, and there cannot be more", SPAWN_MAX);
	if (!c) {
		if (!e->code)
			err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(c->id, id, GUID_BYTES);
	guid_format(id, c->name);
	c->pidfd = c->first_fd = c->log_fd = -1;
	s->child[s->children++] = c;
	return c;
}

static bool
uid_in_use(const struct spawner *s, uid_t uid)
{
	for (size_t i = 0; i < s->children; i++)
		if (s->child[i]->state != CHILD_ENDED && s->child[i]->uid == uid)
			return true;
	return false;
}

/* FNV-1a of the GUID; whoever shares it takes the next free one. There are more than SPAWN_MAX. */
uid_t
children_uid(const struct spawner *s, const uint8_t id[GUID_BYTES])
{
	uint32_t hash = 2166136261u;
	uid_t uid;

	for (int i = 0; i < GUID_BYTES; i++)
		hash = (hash ^ id[i]) * 16777619u;
	hash ^= hash >> 16;
	do
		uid = SPAWN_FIRST_UID + hash++ % SPAWN_UIDS;
	while (uid_in_use(s, uid));
	return uid;
}

/* --- what they say ------------------------------------------------------------------------------------ */

/* Open for reading and writing: then it has no end, neither for us nor, while we are away, for the worker. */
static int
open_log(const struct spawner *s, struct child *c, struct err *e)
{
	char path[PATH_MAX];
	struct stat st;

	path_of(s, c->name, ".log", path);
	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		return err_sys(e, "%s", path);
	c->log_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (c->log_fd < 0 || fstat(c->log_fd, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISFIFO(st.st_mode))
		return err_set(e, EINVAL, "%s: not a FIFO", path);
	if (c->uid == 0)
		c->uid = st.st_uid; /* found again: the FIFO is its user's */
	else if (fchown(c->log_fd, c->uid, c->uid) < 0 && geteuid() == 0)
		return err_sys(e, "%s", path);
	return 0;
}

static void
keep_words(struct child *c, const char *text, size_t len)
{
	size_t drop = 0;

	if (c->words_len + len > sizeof(c->words))
		drop = c->words_len + len - sizeof(c->words);
	memmove(c->words, c->words + drop, c->words_len - drop);
	c->words_len -= drop;
	memcpy(c->words + c->words_len, text, len);
	c->words_len += len;
}

/* "<3>fh-worker: text": the priority, and where the text begins. */
static const char *
split_line(const char *line, enum log_level *level)
{
	static const char who[] = "fh-worker: ";

	*level = LOG_WARN;
	if (line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>') {
		*level = (enum log_level)(line[1] - '0');
		line += 3;
	}
	return strncmp(line, who, sizeof(who) - 1) == 0 ? line + sizeof(who) - 1 : line;
}

static void
pass_on(struct child *c, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		enum log_level level;
		const char *what = split_line(line, &level);

		c->rate.burst = 20;
		c->rate.per_s = 1;
		if (rate_take(&c->rate, (uint64_t)now_ms() * 1000000))
			log_msg(level, "%.8s: %s", c->name, what);
	}
}

/* At most what fits at once: the others have their turn. */
void
children_log(struct child *c)
{
	char text[SPAWN_WORDS + 1];
	ssize_t n = read(c->log_fd, text, SPAWN_WORDS);

	if (n <= 0)
		return;
	text[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '?';
	keep_words(c, text, (size_t)n);
	pass_on(c, text);
}

void
children_words(const struct child *c, char *out)
{
	char text[SPAWN_WORDS + 1], *save = NULL, *from = text;
	size_t len = 0;

	memcpy(text, c->words, c->words_len);
	text[c->words_len] = '\0';
	if (c->words_len == SPAWN_WORDS && strchr(text, '\n') && strchr(text, '\n')[1])
		from = strchr(text, '\n'); /* the first line is cut */
	out[0] = '\0';
	for (char *line = strtok_r(from, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		enum log_level level;

		len += (size_t)snprintf(
		    out + len, SPAWN_WORDS + 1 - len, "%s%s", len ? "; " : "", split_line(line, &level));
		if (len > SPAWN_WORDS)
			break;
	}
	text_clean(out);
}

/* --- the end ------------------------------------------------------------------------------------------ */

static void
remove_files(const struct spawner *s, const char *name)
{
	static const char *const suffix[] = { ".sock", ".log" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
		path_of(s, name, suffix[i], path);
		unlink(path);
	}
}

static void
learn_ending(struct child *c)
{
	siginfo_t si = { 0 };

	c->ending = ENDING_UNKNOWN; /* not our child: fh-spawn was restarted */
	if (waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED | WNOHANG) < 0 || si.si_pid == 0)
		return;
	c->ending = si.si_code == CLD_EXITED ? ENDING_EXIT : ENDING_SIGNAL;
	c->status = si.si_status;
}

static void
tell(struct spawner *s, const struct child *c)
{
	char words[SPAWN_WORDS + 1];

	children_words(c, words);
	log_msg(LOG_INFO, "%s: ended, %s %d", c->name, ending_names[c->ending], c->status);
	if (s->control)
		control_event(s->control, "ended",
		    json_pack("{s:s, s:s, s:i, s:s}", "Id", c->name, "Ending", ending_names[c->ending],
			"Status", c->status, "LastWords", words));
}

/* All is over, or given up. */
static void
finish(struct spawner *s, struct child *c)
{
	close_fd(&c->log_fd);
	remove_files(s, c->name);
	c->state = CHILD_ENDED;
	if (!c->why.code)
		tell(s, c);
}

/* Its control group may hold more than it: nothing of a machine goes on without its worker. */
static void
leave(struct spawner *s, struct child *c)
{
	c->state = CHILD_LEAVING;
	c->until_ms = now_ms() + SPAWN_END_MS;
	cgroup_kill(s->cgroup, c->name);
	if (cgroup_remove(s->cgroup, c->name))
		finish(s, c);
}

static void
look_at_group(struct spawner *s, struct child *c)
{
	bool gone = cgroup_remove(s->cgroup, c->name);

	if (!gone && now_ms() < c->until_ms) {
		cgroup_kill(s->cgroup, c->name);
		return;
	}
	if (!gone)
		log_msg(LOG_ERROR, "%s: there are processes in its control group that do not end", c->name);
	finish(s, c);
}

void
children_ended(struct spawner *s, struct child *c)
{
	learn_ending(c);
	close_fd(&c->pidfd);
	for (int i = 0; i < 64 + 1; i++) /* a FIFO holds 64 KiB */
		children_log(c);
	leave(s, c);
}

void
children_end(struct spawner *s, struct child *c)
{
	struct pollfd p = { .fd = c->state == CHILD_STARTING ? c->first_fd : c->pidfd, .events = POLLIN };

	if (c->state == CHILD_LEAVING)
		look_at_group(s, c);
	if (c->state != CHILD_STARTING && c->state != CHILD_RUNS)
		return;
	cgroup_kill(s->cgroup, c->name);
	syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0);
	if (poll(&p, 1, SPAWN_END_WAIT_MS) <= 0)
		return; /* its end is heard later */
	if (c->state == CHILD_STARTING)
		children_started(s, c);
	else
		children_ended(s, c);
}

/* --- the start ---------------------------------------------------------------------------------------- */

static int
run_worker(const struct spawner *s, const struct child *c, pid_t *pid, struct err *e)
{
	char socket[PATH_MAX], uid[16], group[PATH_MAX];
	char *argv[] = { "fh-worker", "--socket", socket, "--uid", uid, "--gid", uid, "--cgroup", group,
		NULL };
	char *env[] = { NULL };
	posix_spawn_file_actions_t act;
	int rc, log;

	/* Opened once more: on a descriptor that it shared with us a worker could make our reads block. */
	path_of(s, c->name, ".log", socket);
	log = open(socket, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (log < 0)
		return err_sys(e, "%s", socket);
	path_of(s, c->name, ".sock", socket);
	snprintf(uid, sizeof(uid), "%u", (unsigned)c->uid);
	snprintf(group, sizeof(group), "%s/%s", s->cgroup, c->name);
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_adddup2(&act, log, STDERR_FILENO);
	rc = posix_spawn(pid, s->worker, &act, NULL, argv, env);
	posix_spawn_file_actions_destroy(&act);
	close(log);
	return rc ? err_set(e, rc, "%s: %s", s->worker, strerror(rc)) : 0;
}

/* fh-worker's first process has ended: with 0 when the worker is ready, else it has said why not. */
static int
judge(struct child *c, struct err *e)
{
	char words[SPAWN_WORDS + 1];
	int status = 0;

	while (waitpid(c->first, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	children_log(c);
	children_words(c, words);
	if (WIFSIGNALED(status) && now_ms() >= c->until_ms)
		return err_set(e, ETIMEDOUT, "the worker was not ready within %d s", SPAWN_START_MS / 1000);
	if (WIFSIGNALED(status))
		return err_set(e, ECANCELED, "the worker was ended before it was ready");
	return err_set(e, WEXITSTATUS(status) == EXIT_HOST ? ENODEV : EIO, "%s",
	    words[0] ? words : "the worker did not start, and said nothing");
}

static int
watch(const struct spawner *s, struct child *c, struct err *e)
{
	c->pid = cgroup_pid(s->cgroup, c->name);
	c->pidfd = c->pid ? open_pid(c->pid) : -1;
	if (c->pidfd < 0)
		return err_set(e, ESRCH, "the worker ended right after its start");
	return 0;
}

void
children_started(struct spawner *s, struct child *c)
{
	int rc = judge(c, &c->why);

	close_fd(&c->first_fd);
	if (rc == 0)
		rc = watch(s, c, &c->why);
	if (rc == 0) {
		c->state = CHILD_RUNS;
		log_msg(LOG_INFO, "%s: process %d, user %u", c->name, (int)c->pid, (unsigned)c->uid);
	} else {
		leave(s, c);
	}
}

/* Without a descriptor for its first process nobody would hear of its end. */
static int
follow_first(struct child *c, struct err *e)
{
	c->first_fd = open_pid(c->first);
	if (c->first_fd >= 0)
		return 0;
	err_sys(e, "process %d", (int)c->first);
	kill(c->first, SIGKILL);
	while (waitpid(c->first, NULL, 0) < 0 && errno == EINTR)
		;
	return -e->code;
}

static int
start(const struct spawner *s, struct child *c, uint64_t memory_mb, struct err *e)
{
	int rc;

	remove_files(s, c->name);
	rc = cgroup_make(s->cgroup, c->name, memory_mb, e);
	if (rc < 0)
		return rc;
	c->until_ms = now_ms() + SPAWN_START_MS;
	rc = open_log(s, c, e);
	if (rc == 0)
		rc = run_worker(s, c, &c->first, e);
	if (rc == 0)
		rc = follow_first(c, e);
	if (rc < 0) {
		cgroup_kill(s->cgroup, c->name);
		cgroup_remove(s->cgroup, c->name);
		remove_files(s, c->name);
	}
	return rc;
}

static size_t
count_starting(const struct spawner *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->children; i++)
		n += s->child[i]->state == CHILD_STARTING;
	return n;
}

static int
may_start(const struct spawner *s, const struct child *c, struct err *e)
{
	if (c && c->state == CHILD_LEAVING)
		return err_set(
		    e, EAGAIN, "%s: what is left of its last worker is still being ended", c->name);
	if (c && c->state != CHILD_ENDED)
		return err_set(e, EEXIST, "%s: has its worker already, process %d", c->name,
		    (int)(c->pid ? c->pid : c->first));
	if (count_starting(s) >= SPAWN_STARTS)
		return err_set(e, EAGAIN, "%d workers are being started already", SPAWN_STARTS);
	return 0;
}

int
children_start(
    struct spawner *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct child **out, struct err *e)
{
	struct child *c = children_get(s, id);
	int rc = may_start(s, c, e);

	if (rc < 0)
		return rc;
	if (c)
		children_forget(s, c);
	c = add(s, id, e);
	if (!c)
		return -e->code;
	c->uid = children_uid(s, id);
	rc = start(s, c, memory_mb, e);
	if (rc < 0) {
		children_forget(s, c);
		return rc;
	}
	*out = c;
	return 0;
}

/* --- what time brings --------------------------------------------------------------------------------- */

int
children_tend(struct spawner *s)
{
	int64_t now = now_ms(), next = INT64_MAX;

	for (size_t i = 0; i < s->children; i++) {
		struct child *c = s->child[i];

		if (c->state == CHILD_LEAVING)
			look_at_group(s, c);
		else if (c->state == CHILD_STARTING && now >= c->until_ms)
			children_end(s, c);
		if (c->state == CHILD_LEAVING || (c->state == CHILD_STARTING && now >= c->until_ms))
			next = SPAWN_LOOK_MS;
		else if (c->state == CHILD_STARTING && c->until_ms - now < next)
			next = c->until_ms - now;
	}
	return next == INT64_MAX ? -1 : (int)next;
}

/* --- found again -------------------------------------------------------------------------------------- */

/* Name is a folder of the control group: its worker, or what one left behind. */
static void
find_one(struct spawner *s, const char *name)
{
	uint8_t id[GUID_BYTES];
	struct err e = { 0 };
	struct child *c;

	if (!guid_parse(name, id) || children_get(s, id))
		return;
	c = add(s, id, &e);
	if (c)
		c->state = CHILD_RUNS;
	if (c && (watch(s, c, &e) < 0 || open_log(s, c, &e) < 0)) {
		bool runs = c->pidfd >= 0;

		children_forget(s, c);
		if (!runs) {
			cgroup_kill(s->cgroup, name);
			cgroup_remove(s->cgroup, name);
			return;
		}
	}
	if (e.code)
		log_msg(LOG_ERROR, "%s: %s", name, e.msg);
}

/* Files of workers that are no more. */
static void
sweep_one(struct spawner *s, const char *file)
{
	char name[GUID_TEXT + 1];
	uint8_t id[GUID_BYTES];

	snprintf(name, sizeof(name), "%.*s", GUID_TEXT, file);
	if (guid_parse(name, id) && !children_get(s, id))
		remove_files(s, name);
}

static int
each_entry(struct spawner *s, const char *dir, void (*fn)(struct spawner *, const char *), struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return err_sys(e, "%s", dir);
	while ((entry = readdir(d)))
		fn(s, entry->d_name);
	closedir(d);
	return 0;
}

int
children_find(struct spawner *s, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	path_of(s, "", "", path);
	if (mkdir(s->run, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "%s", s->run);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s", path);
	rc = each_entry(s, s->cgroup, find_one, e);
	if (rc == 0)
		rc = each_entry(s, path, sweep_one, e);
	return rc;
}
