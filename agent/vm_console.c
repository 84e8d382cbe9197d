/* agent/vm_console.c - one thread between guests' serial ports and those who look on. */
#include "agent/vm_console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

enum { TYPED_MAX = 4096, READ_MAX = 16 * 1024, DRAIN_MAX = 64, EVENTS = 64 };

/* What is kept, and how much there ever was: a byte's place is its number modulo CONSOLE_KEPT. */
struct kept {
	uint64_t end;
	uint8_t byte[CONSOLE_KEPT];
};

/* One descriptor. */
struct end {
	struct end *next; /* viewers: newest first; dead ones: to be freed */
	struct console *console;
	int fd;
	uint32_t armed; /* what epoll was asked for */
	uint64_t at;    /* viewer: the next byte it gets */
};

struct console {
	struct consoles *all;
	struct console *next_dead;
	struct end *guest, *viewers;
	struct kept *kept;
	char path[PATH_MAX];
	size_t mapped; /* 0: no file, just memory */
	char typed[TYPED_MAX];
	size_t typed_len;
};

struct consoles {
	pthread_mutex_t lock; /* of everything in all consoles */
	pthread_t thread;
	int epoll, wake;
	bool stop;
	struct end *dead; /* freed by the thread, which may have been told about them already */
	struct console *dead_consoles;
	char dir[PATH_MAX];
};

/* --- ends ----------------------------------------------------------------------------------------------- */

static struct end *
end_new(struct console *c, int fd)
{
	struct end *x = calloc(1, sizeof(*x));
	struct epoll_event ev = { .data.ptr = x };
	int flags = fcntl(fd, F_GETFL);

	if (!x || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    epoll_ctl(c->all->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(x);
		close(fd);
		return NULL;
	}
	x->console = c;
	x->fd = fd;
	return x;
}

static void
end_retire(struct end *x)
{
	struct consoles *cs = x->console->all;

	epoll_ctl(cs->epoll, EPOLL_CTL_DEL, x->fd, NULL);
	close(x->fd);
	x->fd = -1;
	x->next = cs->dead;
	cs->dead = x;
}

static void
arm(struct end *x, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = x };

	if (x->armed != events && epoll_ctl(x->console->all->epoll, EPOLL_CTL_MOD, x->fd, &ev) == 0)
		x->armed = events;
}

/* Nobody is asked for more than there is room for, or told that there is room when nothing is to be sent. */
static void
arm_all(struct console *c)
{
	bool room = c->typed_len < TYPED_MAX;

	if (c->guest)
		arm(c->guest, EPOLLIN | (c->typed_len ? EPOLLOUT : 0u));
	for (struct end *v = c->viewers; v; v = v->next)
		arm(v, (room ? EPOLLIN : 0u) | (v->at < c->kept->end ? EPOLLOUT : 0u));
}

static void
drop_viewer(struct console *c, struct end *gone)
{
	for (struct end **at = &c->viewers; *at; at = &(*at)->next)
		if (*at == gone) {
			*at = gone->next;
			end_retire(gone);
			return;
		}
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

static void
keep(struct kept *k, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		k->byte[k->end++ % CONSOLE_KEPT] = p[i];
}

/* Returns false when the viewer has gone. One that fell behind goes on with the oldest that is kept. */
static bool
show(struct end *v)
{
	const struct kept *k = v->console->kept;

	while (v->at < k->end) {
		size_t from, len;
		ssize_t n;

		if (k->end - v->at > CONSOLE_KEPT)
			v->at = k->end - CONSOLE_KEPT;
		from = (size_t)(v->at % CONSOLE_KEPT);
		len = (size_t)(k->end - v->at);
		if (len > CONSOLE_KEPT - from)
			len = CONSOLE_KEPT - from;
		n = write(v->fd, k->byte + from, len);
		if (n <= 0)
			return errno == EAGAIN || errno == EINTR;
		v->at += (uint64_t)n;
	}
	return true;
}

static void
show_all(struct console *c)
{
	struct end *next;

	for (struct end *v = c->viewers; v; v = next) {
		next = v->next;
		if (!show(v))
			drop_viewer(c, v);
	}
}

/* Returns false when there is no more for now, or for ever. */
static bool
from_guest(struct console *c)
{
	uint8_t buf[READ_MAX];
	ssize_t n = read(c->guest->fd, buf, sizeof(buf));

	if (n > 0) {
		keep(c->kept, buf, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_retire(c->guest); /* its worker has ended */
		c->guest = NULL;
		c->typed_len = 0;
	}
	return false;
}

static void
to_guest(struct console *c)
{
	ssize_t n;

	if (!c->guest) {
		c->typed_len = 0; /* a machine that is off hears nothing */
		return;
	}
	if (!c->typed_len)
		return;
	n = write(c->guest->fd, c->typed, c->typed_len);
	if (n > 0) {
		c->typed_len -= (size_t)n;
		memmove(c->typed, c->typed + n, c->typed_len);
	}
}

static void
from_viewer(struct console *c, struct end *v)
{
	ssize_t n = read(v->fd, c->typed + c->typed_len, TYPED_MAX - c->typed_len);

	if (n > 0)
		c->typed_len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		drop_viewer(c, v);
}

static void
handle(struct end *x, uint32_t events)
{
	struct console *c = x->console;

	if (x->fd < 0)
		return; /* retired since */
	if (x == c->guest) {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			from_guest(c);
	} else if ((events & EPOLLERR) || ((events & EPOLLHUP) && c->typed_len == TYPED_MAX)) {
		drop_viewer(c, x);
	} else if (events & (EPOLLIN | EPOLLHUP) && c->typed_len < TYPED_MAX) {
		from_viewer(c, x);
	}
	to_guest(c);
	show_all(c);
	arm_all(c);
}

/* --- the thread ----------------------------------------------------------------------------------------- */

static void
bury(struct consoles *cs)
{
	while (cs->dead) {
		struct end *x = cs->dead;

		cs->dead = x->next;
		free(x);
	}
	while (cs->dead_consoles) {
		struct console *c = cs->dead_consoles;

		cs->dead_consoles = c->next_dead;
		if (c->mapped)
			munmap(c->kept, c->mapped);
		else
			free(c->kept);
		free(c);
	}
}

static void *
run(void *arg)
{
	struct consoles *cs = arg;
	struct epoll_event ev[EVENTS];

	for (;;) {
		int n = epoll_wait(cs->epoll, ev, EVENTS, -1);
		bool stop;

		pthread_mutex_lock(&cs->lock);
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr)
				handle(ev[i].data.ptr, ev[i].events);
		bury(cs);
		stop = cs->stop;
		pthread_mutex_unlock(&cs->lock);
		if (stop)
			return NULL;
	}
}

int
consoles_new(struct consoles **out, const char *run_dir, struct err *e)
{
	struct consoles *cs = calloc(1, sizeof(*cs));
	struct epoll_event ev = { .events = EPOLLIN }; /* data.ptr NULL: it is time to end */
	int rc = 0;

	*out = NULL;
	if (!cs)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&cs->lock, NULL);
	snprintf(cs->dir, sizeof(cs->dir), "%.*s/consoles", PATH_MAX - 16, run_dir);
	mkdir(cs->dir, 0700);
	cs->epoll = epoll_create1(EPOLL_CLOEXEC);
	cs->wake = eventfd(0, EFD_CLOEXEC);
	if (cs->epoll < 0 || cs->wake < 0 || epoll_ctl(cs->epoll, EPOLL_CTL_ADD, cs->wake, &ev) < 0)
		rc = err_sys(e, "consoles");
	else if ((rc = -pthread_create(&cs->thread, NULL, run, cs)) < 0)
		err_set(e, -rc, "consoles: %s", strerror(-rc));
	if (rc == 0) {
		*out = cs;
		return 0;
	}
	if (cs->epoll >= 0)
		close(cs->epoll);
	if (cs->wake >= 0)
		close(cs->wake);
	free(cs);
	return rc;
}

void
consoles_free(struct consoles *cs)
{
	uint64_t one = 1;

	if (!cs)
		return;
	pthread_mutex_lock(&cs->lock);
	cs->stop = true;
	pthread_mutex_unlock(&cs->lock);
	if (write(cs->wake, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(cs->thread, NULL);
	bury(cs);
	close(cs->epoll);
	close(cs->wake);
	pthread_mutex_destroy(&cs->lock);
	free(cs);
}

/* --- consoles ------------------------------------------------------------------------------------------- */

/* In a file of our own folder if that can be, else in memory. */
static bool
make_room(struct console *c)
{
	int fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, sizeof(struct kept)) == 0)
		p = mmap(NULL, sizeof(struct kept), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED) {
		c->kept = p;
		c->mapped = sizeof(struct kept);
		return true;
	}
	log_msg(LOG_WARN, "%s: %s", c->path, strerror(errno));
	c->kept = calloc(1, sizeof(struct kept));
	return c->kept != NULL;
}

struct console *
console_new(struct consoles *cs, const char *name)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->all = cs;
	snprintf(c->path, sizeof(c->path), "%.*s/%.64s", PATH_MAX - 80, cs->dir, name);
	if (make_room(c))
		return c;
	free(c);
	return NULL;
}

void
console_put(struct console *c)
{
	struct consoles *cs = c ? c->all : NULL;

	if (!c)
		return;
	pthread_mutex_lock(&cs->lock);
	if (c->guest)
		end_retire(c->guest);
	while (c->viewers)
		drop_viewer(c, c->viewers);
	c->next_dead = cs->dead_consoles;
	cs->dead_consoles = c;
	pthread_mutex_unlock(&cs->lock);
}

void
console_forget(struct console *c)
{
	if (c)
		unlink(c->path);
}

void
console_guest(struct console *c, int fd)
{
	pthread_mutex_lock(&c->all->lock);
	for (int i = 0; i < DRAIN_MAX && c->guest && from_guest(c); i++)
		; /* the last words of the run before */
	if (c->guest)
		end_retire(c->guest);
	c->guest = fd >= 0 ? end_new(c, fd) : NULL;
	c->typed_len = 0;
	arm_all(c);
	pthread_mutex_unlock(&c->all->lock);
}

static void
make_place(struct console *c)
{
	struct end *oldest = c->viewers;
	size_t n = 0;

	for (struct end *v = c->viewers; v; v = v->next, n++)
		oldest = v;
	if (n >= CONSOLE_VIEWERS)
		drop_viewer(c, oldest);
}

int
console_view(struct console *c, int fd, struct err *e)
{
	struct end *v;
	int rc = 0;

	pthread_mutex_lock(&c->all->lock);
	make_place(c);
	v = end_new(c, fd);
	if (v) {
		v->at = c->kept->end > CONSOLE_KEPT ? c->kept->end - CONSOLE_KEPT : 0;
		v->next = c->viewers;
		c->viewers = v;
		if (!show(v))
			drop_viewer(c, v);
		arm_all(c);
	} else {
		rc = err_set(e, EIO, "the console cannot be shown: %s", strerror(errno));
	}
	pthread_mutex_unlock(&c->all->lock);
	return rc;
}

size_t
console_viewers(struct console *c)
{
	size_t n = 0;

	pthread_mutex_lock(&c->all->lock);
	for (const struct end *v = c->viewers; v; v = v->next)
		n++;
	pthread_mutex_unlock(&c->all->lock);
	return n;
}
