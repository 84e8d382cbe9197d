/* agent/host_linux.c - the host's name, clock and power. */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/host_ops.h"
#include "lib/log.h"

static int
get_name(char name[HOST_NAME_SIZE], struct err *e)
{
	if (gethostname(name, HOST_NAME_SIZE) < 0)
		return err_sys(e, "host name");
	name[HOST_NAME_SIZE - 1] = '\0';
	return 0;
}

static int
set_name(const char *name, struct err *e)
{
	return sethostname(name, strlen(name)) < 0 ? err_sys(e, "host name") : 0;
}

/* The clock that goes on while the host is off; it has UTC. Not every host has one. */
static void
set_hardware_clock(time_t t)
{
	struct rtc_time rtc = { 0 };
	struct tm tm;
	int fd = open("/dev/rtc0", O_WRONLY | O_CLOEXEC);

	gmtime_r(&t, &tm);
	rtc.tm_sec = tm.tm_sec;
	rtc.tm_min = tm.tm_min;
	rtc.tm_hour = tm.tm_hour;
	rtc.tm_mday = tm.tm_mday;
	rtc.tm_mon = tm.tm_mon;
	rtc.tm_year = tm.tm_year;
	if (fd >= 0 && ioctl(fd, RTC_SET_TIME, &rtc) < 0)
		log_msg(LOG_WARN, "hardware clock: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int
set_clock(time_t t, struct err *e)
{
	struct timespec ts = { .tv_sec = t };

	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_sys(e, "clock");
	set_hardware_clock(t);
	return 0;
}

/* What BusyBox init does on these signals: see its init.c. */
static int
power(enum host_power what, struct err *e)
{
	sync();
	return kill(1, what == HOST_RESTART ? SIGTERM : SIGUSR2) < 0 ? err_sys(e, "init") : 0;
}

const struct host_ops host_linux = {
	.get_name = get_name,
	.set_name = set_name,
	.adapters = host_net_adapters,
	.set_address = host_net_set_address,
	.set_clock = set_clock,
	.power = power,
	.watch = host_net_watch,
};
