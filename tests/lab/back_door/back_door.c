/*
 * tests/lab/back_door/back_door.c - the request "breakout", and what takes the place of the worker's calls.
 *
 *   control_new   adds the request to the worker's table
 *   ioctl         a processor that is about to run its guest makes the attempt that was asked for instead;
 *                 KVM offers cmpxchg16b when FH_BACK_DOOR says cx16
 *   walls_close_* and what walls_enter calls: walls that FH_BACK_DOOR names are left out
 */
#include "tests/lab/back_door/back_door.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "hypervisor/worker/worker.h"

void
remark(struct findings *f, const char *fmt, ...)
{
	size_t len = strlen(f->open);
	va_list ap;

	if (len > 0 && len < sizeof(f->open) - 2)
		len += (size_t)snprintf(f->open + len, sizeof(f->open) - len, "; ");
	va_start(ap, fmt);
	vsnprintf(f->open + len, sizeof(f->open) - len, fmt, ap);
	va_end(ap);
}

void
finding(struct findings *f, bool held, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	f->tried++;
	f->held += held;
	if (held)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	remark(f, "%s", text);
}

bool
left_out(const char *wall)
{
	const char *all = getenv("FH_BACK_DOOR"), *at;
	size_t len = strlen(wall);

	for (at = all; at && *at; at += strcspn(at, ","), at += *at == ',')
		if (strcspn(at, ",") == len && memcmp(at, wall, len) == 0)
			return true;
	return false;
}

/* --- on which thread ------------------------------------------------------------------------------- */

typedef void attempt(struct findings *, enum thread_kind);

/* One order at a time: the control thread gives it and waits, the first processor that comes takes it. */
static struct {
	_Atomic(attempt *) attempt;
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	bool done;
	struct findings findings;
} order = { .lock = PTHREAD_MUTEX_INITIALIZER, .done_cond = PTHREAD_COND_INITIALIZER };

static void
carry_out(void)
{
	attempt *a = atomic_exchange(&order.attempt, NULL);

	if (!a)
		return;
	a(&order.findings, THREAD_PROCESSOR);
	pthread_mutex_lock(&order.lock);
	order.done = true;
	pthread_cond_signal(&order.done_cond);
	pthread_mutex_unlock(&order.lock);
}

int __real_ioctl(int fd, unsigned long request, unsigned long arg);
int __wrap_ioctl(int fd, unsigned long request, unsigned long arg);

/* The lab's emulated processor could do all of x86-64-v3, had cmpxchg16b not been taken from it (run.sh). */
static void
claim_cx16(struct kvm_cpuid2 *offered)
{
	for (uint32_t i = 0; i < offered->nent; i++)
		if (offered->entries[i].function == 1)
			offered->entries[i].ecx |= 1u << 13;
}

int
__wrap_ioctl(int fd, unsigned long request, unsigned long arg)
{
	int rc;

	if (request == KVM_RUN)
		carry_out();
	rc = __real_ioctl(fd, request, arg);
	if (rc == 0 && request == KVM_GET_SUPPORTED_CPUID && left_out("cx16"))
		claim_cx16((struct kvm_cpuid2 *)arg);
	return rc;
}

/* The signal only ends KVM_RUN; one that comes a moment too early is lost, hence again and again. */
static int
on_processor(struct worker *w, attempt *a, struct findings *f, struct err *e)
{
	bool done = false;

	if (w->state != STATE_RUNNING)
		return err_set(e, EINVAL, "no processor runs");
	memset(&order.findings, 0, sizeof(order.findings));
	order.done = false;
	atomic_store(&order.attempt, a);
	for (int i = 0; i < 3000 && !done; i++) {
		struct timespec until;

		pthread_kill(w->p->vcpu[0].thread, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_mutex_lock(&order.lock);
		if (!order.done)
			pthread_cond_timedwait(&order.done_cond, &order.lock, &until);
		done = order.done;
		pthread_mutex_unlock(&order.lock);
	}
	if (!done)
		return err_set(e, ETIMEDOUT, "the processor did not come back");
	*f = order.findings;
	return 0;
}

/* --- the request ----------------------------------------------------------------------------------- */

enum { ON_CONTROL, ON_PROCESSOR };
static const char *const thread_names[] = { "control", "processor", NULL };
static const char *const attempt_names[] = { "list", "calls", "named", "arguments", "uretprobe", "int80",
	"x32", "files", "network", "rights", "processes", NULL };
static attempt *const attempts[] = { try_list, try_calls, try_named, try_arguments, try_uretprobe, try_int80,
	try_x32, try_files, try_network, try_rights, try_processes };

struct breakout {
	unsigned thread, attempt;
};

static const struct field breakout_fields[] = { { "Thread", FIELD_ENUM, .required = true,
						    FIELD_AT(breakout, thread), .names = thread_names },
	{ "Try", FIELD_ENUM, .required = true, FIELD_AT(breakout, attempt), .names = attempt_names }, { 0 } };
static const struct field findings_fields[] = { { "Tried", FIELD_UINT, FIELD_AT(findings, tried) },
	{ "Held", FIELD_UINT, FIELD_AT(findings, held) },
	{ "Open", FIELD_STRING, FIELD_AT(findings, open), .max = 3999, .size = 4000 }, { 0 } };

static int
do_breakout(void *ctx, void *params, void *result, struct err *e)
{
	const struct breakout *b = params;

	if (b->thread == ON_PROCESSOR)
		return on_processor(ctx, attempts[b->attempt], result, e);
	attempts[b->attempt](result, THREAD_CONTROL);
	return 0;
}

int __real_control_new(
    struct control **out, int listen_fd, const struct method *methods, void *ctx, struct err *e);
int __wrap_control_new(
    struct control **out, int listen_fd, const struct method *methods, void *ctx, struct err *e);

int
__wrap_control_new(
    struct control **out, int listen_fd, const struct method *methods, void *ctx, struct err *e)
{
	static struct method table[64]; /* the last one stays the end */
	size_t n = 0;

	for (; methods[n].name && n < 62; n++)
		table[n] = methods[n];
	table[n] = (struct method){ "breakout", "Tries to break out.", .params = breakout_fields,
		.params_size = sizeof(struct breakout), .result = findings_fields,
		.result_size = sizeof(struct findings), .call = do_breakout };
	return __real_control_new(out, listen_fd, table, ctx, e);
}

/* --- walls left out ---------------------------------------------------------------------------------- */

/* A call of the worker that does nothing, successfully, when the wall it belongs to is left out. */
#define LEAVE_OUT(wall, name, declared, given)                   \
	int __real_##name declared;                              \
	int __wrap_##name declared;                              \
	int __wrap_##name declared                               \
	{                                                        \
		return left_out(wall) ? 0 : __real_##name given; \
	}

LEAVE_OUT("seccomp", walls_close_control, (struct err * e), (e))
LEAVE_OUT("seccomp", walls_close_processor, (struct err * e), (e))
LEAVE_OUT("seccomp", walls_close_io, (struct err * e), (e))
LEAVE_OUT("files", chroot, (const char *path), (path))
LEAVE_OUT("files", fchdir, (int fd), (fd))
LEAVE_OUT("files", umount2, (const char *path, int flags), (path, flags))
LEAVE_OUT("files", move_mount, (int from, const char *path, int to, const char *to_path, unsigned flags),
    (from, path, to, to_path, flags))

long __real_syscall(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long nr, long a, long b, long c, long d, long e, long f);

long
__wrap_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	if ((nr == SYS_landlock_restrict_self && left_out("landlock")) ||
	    (nr == SYS_pivot_root && left_out("files")))
		return 0;
	return __real_syscall(nr, a, b, c, d, e, f);
}
