/*
 * hypervisor/core/partition_devices.c - the emulated devices of a direct-boot machine, and what they
 * see of the partition: interrupt lines, clocks, timers.
 */
#include "hypervisor/core/partition_devices.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/chipset/pm.h"
#include "hypervisor/chipset/reset.h"
#include "hypervisor/chipset/rtc.h"
#include "hypervisor/chipset/uart.h"
#include "hypervisor/core/synic.h"
#include "lib/log.h"

#define SECOND 1000000000ull

/* --- what a device sees of us -------------------------------------------------------------------- */

uint64_t
partition_now(const struct partition *p)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)((int64_t)((uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec) + p->clock_offset);
}

static uint64_t
host_now(void *ctx)
{
	return partition_now(ctx);
}

static struct timespec
host_wall(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

static void
host_irq(void *ctx, unsigned gsi, bool level)
{
	struct partition *p = ctx;
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	ioctl(p->vm_fd, KVM_IRQ_LINE, &l); /* cannot fail for a line that exists */
}

static void
host_request(void *ctx, enum guest_request what)
{
	partition_ask(ctx, what == GUEST_RESET ? ASKED_RESET : ASKED_POWER_OFF);
}

/* --- timers: one descriptor for the earliest deadline --------------------------------------------- */

static void
arm(struct partition *p)
{
	struct itimerspec at = { 0 };
	uint64_t first = UINT64_MAX, now;

	for (unsigned i = 0; i < p->devices; i++)
		if (p->deadline[i] < first)
			first = p->deadline[i];
	if (p->retry_at < first)
		first = p->retry_at;
	if (first != UINT64_MAX) {
		now = partition_now(p);
		first = first > now ? first - now : 1;
		at.it_value.tv_sec = (time_t)(first / SECOND);
		at.it_value.tv_nsec = (long)(first % SECOND);
	}
	timerfd_settime(p->timer_fd, 0, &at, NULL);
}

static void
host_timer(void *ctx, struct device *dev, uint64_t ns)
{
	struct partition *p = ctx;

	pthread_mutex_lock(&p->timer_lock);
	for (unsigned i = 0; i < p->devices; i++)
		if (p->device[i] == dev && p->deadline[i] != ns) {
			p->deadline[i] = ns;
			arm(p);
		}
	pthread_mutex_unlock(&p->timer_lock);
}

void
partition_retry_in(struct partition *p, unsigned ms)
{
	pthread_mutex_lock(&p->timer_lock);
	p->retry_at = partition_now(p) + ms * 1000000ull;
	arm(p);
	pthread_mutex_unlock(&p->timer_lock);
}

static bool
retry_due(struct partition *p, uint64_t now)
{
	bool due;

	pthread_mutex_lock(&p->timer_lock);
	due = p->retry_at <= now;
	if (due)
		p->retry_at = UINT64_MAX;
	pthread_mutex_unlock(&p->timer_lock);
	return due;
}

void
partition_timers(struct partition *p)
{
	uint64_t n, now = partition_now(p);

	if (read(p->timer_fd, &n, sizeof(n)) < 0)
		n = 0;
	for (unsigned i = 0; i < p->devices; i++) {
		bool due;

		pthread_mutex_lock(&p->timer_lock);
		due = p->deadline[i] <= now;
		if (due)
			p->deadline[i] = UINT64_MAX;
		pthread_mutex_unlock(&p->timer_lock);
		if (due)
			device_expire(p->device[i]); /* may set its next deadline */
	}
	if (retry_due(p, now))
		vmbus_retry(p->vmbus);
	pthread_mutex_lock(&p->timer_lock);
	arm(p);
	pthread_mutex_unlock(&p->timer_lock);
}

/* --- the devices ---------------------------------------------------------------------------------- */

static void
on_console(void *ctx)
{
	partition_ask(ctx, ASKED_CONSOLE);
}

static int
add(struct partition *p, struct device *d, uint32_t base, uint32_t len, struct err *e)
{
	int rc;

	if (!d)
		return err_set(e, ENOMEM, "devices: out of memory");
	p->deadline[p->devices] = UINT64_MAX;
	p->device[p->devices++] = d;
	rc = base ? bus_add(&p->ports, base, len, d) : reset_attach(d, &p->ports);
	return rc < 0 ? err_set(e, -rc, "devices: %s: its ports are taken", d->ops->name) : 0;
}

static int
add_com(struct partition *p, unsigned i, struct err *e)
{
	static const uint32_t base[MACHINE_COM_PORTS] = { PORT_COM1, PORT_COM2 };
	const struct uart_events events = { .ctx = p, .output = on_console, .room = on_console };

	if (!p->machine->com[i])
		return 0;
	p->com[i] = uart_new(&p->host, i, &events);
	return add(p, p->com[i], base[i], UART_PORTS, e);
}

int
partition_make_devices(struct partition *p, struct err *e)
{
	int rc;

	p->host = (struct device_host){ .ctx = p,
		.irq = host_irq,
		.now = host_now,
		.wall = host_wall,
		.request = host_request,
		.timer = host_timer };
	p->clock_offset -= (int64_t)partition_now(p); /* reference time begins at 0 */
	p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (p->timer_fd < 0)
		return err_sys(e, "timerfd");
	rc = add(p, rtc_new(&p->host, 0), PORT_RTC, RTC_PORTS, e);
	for (unsigned i = 0; rc == 0 && i < MACHINE_COM_PORTS; i++)
		rc = add_com(p, i, e);
	if (rc == 0) {
		p->pm = pm_new(&p->host, 0);
		rc = add(p, p->pm, PORT_PM, PM_PORTS, e);
	}
	if (rc == 0)
		rc = add(p, reset_new(&p->host, 0), 0, 0, e);
	return rc;
}

/* --- the bus -------------------------------------------------------------------------------------- */

static uint16_t
receive(void *ctx, uint32_t connection, uint32_t type, const void *payload, size_t len)
{
	struct partition *p = ctx;
	bool wake = false;
	uint16_t status = vmbus_receive(p->vmbus, connection, type, payload, len, &wake);

	if (wake)
		partition_ask(p, ASKED_VMBUS);
	return status;
}

int
partition_make_bus(struct partition *p, struct err *e)
{
	int rc = synic_setup(p, e);

	p->retry_at = UINT64_MAX;
	p->mail = (struct hv_mail){ .post = receive, .ctx = p };
	return rc < 0 ? rc : vmbus_new(&p->vmbus, &p->vmbus_host, e);
}
