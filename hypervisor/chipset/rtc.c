/*
 * hypervisor/chipset/rtc.c - CMOS clock and NVRAM, compatible with Motorola's MC146818 (its datasheet,
 * 1984): ports 0x70 (index) and 0x71 (data).
 *
 * Ops run with the lock held: accesses on a processor's thread, expire on the control thread.
 *
 * Nothing ticks. The time is the host's wall clock, to the nanosecond, plus the offset that the guest
 * made by setting the clock, worked out when somebody looks; flags of register C that came due since the
 * last look are set then. The host's timer is armed only while an enabled interrupt waits for its moment.
 *
 * An update takes no time here: all registers change at the second's edge. It is announced 244 us ahead,
 * as the datasheet promises to whoever has seen UIP clear, and UIP falls at the edge. So a guest that asks
 * for the time at any moment waits with a chance of 1 in 4000, and never long.
 */
#include "hypervisor/chipset/rtc.h"

#include <stdlib.h>

#include "hypervisor/core/machine.h"

enum {
	OFF_INDEX = 0,
	OFF_DATA = 1,

	SECONDS = 0,
	SECONDS_ALARM = 1,
	MINUTES = 2,
	MINUTES_ALARM = 3,
	HOURS = 4,
	HOURS_ALARM = 5,
	WEEKDAY = 6, /* 1 is Sunday */
	DAY = 7,
	MONTH = 8,
	YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,

	A_UPDATING = 1 << 7, /* read only */
	A_DIVIDER = 0x70,
	A_DIVIDER_32KHZ = 0x20, /* this and slower ones count; faster ones are test modes and reset */
	A_RATE = 0x0f,
	A_POWER_ON = 0x26, /* 32768 Hz, 1024 Hz: what a PC's firmware sets */

	B_24_HOURS = 1 << 1,
	B_BINARY = 1 << 2,
	B_UPDATE_IRQ = 1 << 4,
	B_ALARM_IRQ = 1 << 5,
	B_PERIODIC_IRQ = 1 << 6,
	B_SET = 1 << 7,

	/* Enable bits of B and flags of C are at the same places. */
	C_UPDATE = B_UPDATE_IRQ,
	C_ALARM = B_ALARM_IRQ,
	C_PERIODIC = B_PERIODIC_IRQ,
	C_FLAGS = C_UPDATE | C_ALARM | C_PERIODIC,
	C_IRQ = 1 << 7,

	D_VALID = 1 << 7, /* the battery is good */

	HOURS_PM = 1 << 7,
	ALARM_ANY = 0xc0, /* an alarm byte with both bits matches everything */

	DAY_SECONDS = 86400,
	CRYSTAL_HZ = 32768,
};

#define NS          1000000000ll
#define UPDATING_NS 244000 /* from UIP to the update (datasheet, table 5: t BUC) */
#define SAME_NS     1000   /* moments that are no further apart are one: see is_armed */
/* What the host's clock or a saved offset may be: beyond any date, far from the ends of int64_t. */
#define SECONDS_MAX (1ll << 40)

struct rtc {
	struct device dev;
	/* guest-visible */
	uint8_t index;
	uint8_t reg[RTC_NREGS]; /* those of time and date hold the clock while it stands still */
	int64_t offset;         /* from the host's wall clock to ours: seconds ... */
	uint32_t offset_ns;     /* ... and 0 to 999999999 ns more */
	int64_t second;         /* our time since 1970, up to which flags have been raised */
	/* the host's side, as of the last look */
	struct timespec clock; /* wall clock plus offset: the divider counts its ns */
	uint64_t seen;         /* now() */
	uint64_t periods;      /* of the periodic interrupt, since now() was 0 */
	uint64_t armed;        /* what the host's timer is set to; 0: not known */
	bool irq;
};

/* --- dates ------------------------------------------------------------------------------------- */
/* libc's would read the time zone file, which a sandboxed worker cannot. */

struct date {
	int year, month, day; /* 0-9999, 1-12, 1-31 */
};

enum {
	ERA_YEARS = 400, /* after which the calendar repeats */
	ERA_DAYS = 146097,
	EPOCH_DAYS = 719468, /* from 1 March of year 0 to 1 January 1970 */
	MANY_ERAS = 1000,    /* longer than any second counted here lies before 1970 */
};

/* Days since 1970. Years are counted from March, so that the odd day is the last of its year. */
static int64_t
days_from_date(struct date d)
{
	int64_t year = d.year + ERA_YEARS - (d.month <= 2);
	int month = (d.month + 9) % 12;

	return year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + d.day - 1 -
	       ERA_DAYS - EPOCH_DAYS;
}

static struct date
date_from_days(int64_t days)
{
	int64_t n = days + EPOCH_DAYS + (int64_t)MANY_ERAS * ERA_DAYS;
	int64_t year = (n * 10000 + 14780) / 3652425; /* at most one too many */
	int64_t rest = n - (year * 365 + year / 4 - year / 100 + year / 400);
	int month;

	if (rest < 0) {
		year--;
		rest = n - (year * 365 + year / 4 - year / 100 + year / 400);
	}
	month = (int)((rest * 100 + 52) / 3060);
	return (struct date){
		.year = (int)((year + (month >= 10)) % 10000),
		.month = (month + 2) % 12 + 1,
		.day = (int)rest - (month * 306 + 5) / 10 + 1,
	};
}

static int
days_in_month(int year, int month)
{
	struct date this = { year, month, 1 }, next = { year + month / 12, month % 12 + 1, 1 };

	return (int)(days_from_date(next) - days_from_date(this));
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* --- the registers of time and date ------------------------------------------------------------ */

static uint8_t
encode(const struct rtc *r, int v)
{
	return (uint8_t)(r->reg[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t
encode_hour(const struct rtc *r, int hour)
{
	if (r->reg[REG_B] & B_24_HOURS)
		return encode(r, hour);
	return encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? HOURS_PM : 0);
}

/* Whatever the guest stored counts as the nearest legal value. */
static int
decode(const struct rtc *r, uint8_t raw, int min, int max)
{
	int v = r->reg[REG_B] & B_BINARY ? raw : (raw >> 4) * 10 + (raw & 0x0f);

	return v < min ? min : v > max ? max : v;
}

static int
decode_hour(const struct rtc *r, uint8_t raw)
{
	if (r->reg[REG_B] & B_24_HOURS)
		return decode(r, raw, 0, 23);
	return decode(r, raw & (HOURS_PM - 1), 1, 12) % 12 + (raw & HOURS_PM ? 12 : 0);
}

static bool
is_clock(unsigned reg)
{
	switch (reg) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY:
	case DAY:
	case MONTH:
	case YEAR:
	case RTC_CENTURY:
		return true;
	default:
		return false;
	}
}

static void
clock_to_registers(struct rtc *r)
{
	int64_t days = floor_div(r->second, DAY_SECONDS);
	int second = (int)(r->second - days * DAY_SECONDS);
	struct date d = date_from_days(days);

	r->reg[SECONDS] = encode(r, second % 60);
	r->reg[MINUTES] = encode(r, second / 60 % 60);
	r->reg[HOURS] = encode_hour(r, second / 3600);
	r->reg[WEEKDAY] = (uint8_t)(1 + (days + 4 + 7 * (int64_t)MANY_ERAS * ERA_DAYS) % 7);
	r->reg[DAY] = encode(r, d.day);
	r->reg[MONTH] = encode(r, d.month);
	r->reg[YEAR] = encode(r, d.year % 100);
	r->reg[RTC_CENTURY] = encode(r, d.year / 100);
}

static int64_t
clock_from_registers(const struct rtc *r)
{
	struct date d = {
		.year = decode(r, r->reg[RTC_CENTURY], 0, 99) * 100 + decode(r, r->reg[YEAR], 0, 99),
		.month = decode(r, r->reg[MONTH], 1, 12),
	};

	d.day = decode(r, r->reg[DAY], 1, days_in_month(d.year, d.month));
	return days_from_date(d) * DAY_SECONDS + decode_hour(r, r->reg[HOURS]) * 3600 +
	       decode(r, r->reg[MINUTES], 0, 59) * 60 + decode(r, r->reg[SECONDS], 0, 59);
}

/* --- the alarm --------------------------------------------------------------------------------- */

/* The first value from..limit-1 that an alarm byte matches, or -1. An illegal byte matches nothing. */
static int
alarm_match(const struct rtc *r, unsigned reg, int from, int limit)
{
	uint8_t want = r->reg[reg];

	for (int v = from; v < limit; v++)
		if ((want & ALARM_ANY) == ALARM_ANY ||
		    want == (reg == HOURS_ALARM ? encode_hour(r, v) : encode(r, v)))
			return v;
	return -1;
}

/* The first second of the day, from `from` on, that the alarm matches, or -1. */
static int
alarm_in_day(const struct rtc *r, int from)
{
	int from_hour = from / 3600, from_minute = from / 60 % 60;
	int hour = alarm_match(r, HOURS_ALARM, from_hour, 24);
	int minute = alarm_match(r, MINUTES_ALARM, hour == from_hour ? from_minute : 0, 60);
	bool begun = hour == from_hour && minute == from_minute;
	int second = alarm_match(r, SECONDS_ALARM, begun ? from % 60 : 0, 60);

	if (hour < 0)
		return -1;
	if (second < 0) { /* not in the minute begun: in the next one */
		minute = alarm_match(r, MINUTES_ALARM, minute + 1, 60);
		second = alarm_match(r, SECONDS_ALARM, 0, 60);
	}
	if (minute < 0) { /* not in the hour begun: in the next one */
		hour = alarm_match(r, HOURS_ALARM, hour + 1, 24);
		minute = alarm_match(r, MINUTES_ALARM, 0, 60);
	}
	return hour < 0 || minute < 0 || second < 0 ? -1 : hour * 3600 + minute * 60 + second;
}

/* The first second after t that the alarm matches, or INT64_MAX. */
static int64_t
alarm_after(const struct rtc *r, int64_t t)
{
	int64_t day = floor_div(t + 1, DAY_SECONDS) * DAY_SECONDS;
	int at = alarm_in_day(r, (int)(t + 1 - day));

	if (at < 0) {
		day += DAY_SECONDS;
		at = alarm_in_day(r, 0);
	}
	return at < 0 ? INT64_MAX : day + at;
}

/* --- the passing of time ----------------------------------------------------------------------- */

/* Wall clock first: a moment worked out from both is then rather late than early. */
static void
read_clocks(struct rtc *r)
{
	const struct device_host *h = r->dev.host;
	struct timespec t = h->wall(h->ctx);

	if (t.tv_sec < -SECONDS_MAX || t.tv_sec > SECONDS_MAX)
		t = (struct timespec){ .tv_sec = t.tv_sec < 0 ? -SECONDS_MAX : SECONDS_MAX };
	t.tv_sec += r->offset;
	t.tv_nsec += r->offset_ns;
	if (t.tv_nsec >= NS) {
		t.tv_sec++;
		t.tv_nsec -= NS;
	}
	r->clock = t;
	r->seen = h->now(h->ctx);
}

static bool
divider_counts(const struct rtc *r)
{
	return (r->reg[REG_A] & A_DIVIDER) <= A_DIVIDER_32KHZ;
}

static bool
clock_runs(const struct rtc *r)
{
	return divider_counts(r) && !(r->reg[REG_B] & B_SET);
}

/* A wall clock that fell back by little, as it does at a leap second, is waited for: time stands. What is
 * more is a clock that was set. */
static void
clock_follow(struct rtc *r)
{
	if (r->second != r->clock.tv_sec + 1)
		r->second = r->clock.tv_sec;
}

/* Our clock shows t from now on. Where in its second it is stays: that is the divider's. */
static void
clock_set(struct rtc *r, int64_t t)
{
	r->offset += t - r->clock.tv_sec;
	r->clock.tv_sec = r->second = t;
}

/* Out of reset the divider needs half a second to the first update (datasheet, "Divider Control"). The clock
 * does not run yet: its seconds are set afterwards. */
static void
divider_start(struct rtc *r)
{
	r->offset_ns = (uint32_t)((r->offset_ns + NS + NS / 2 - r->clock.tv_nsec) % NS);
	read_clocks(r);
}

static unsigned
periodic_ticks(const struct rtc *r) /* of the crystal; 0: off (datasheet, table 3) */
{
	unsigned rate = r->reg[REG_A] & A_RATE;

	if (!rate || !divider_counts(r))
		return 0;
	return 1u << (rate < 3 ? rate + 6 : rate - 1);
}

static uint64_t
periods_now(const struct rtc *r)
{
	uint64_t t = r->seen;
	unsigned ticks = periodic_ticks(r);

	return ticks ? (t / NS * CRYSTAL_HZ + t % NS * CRYSTAL_HZ / NS) / ticks : 0;
}

/* When the next period begins: the first ns at which periods_now counts one more. */
static uint64_t
next_period(const struct rtc *r)
{
	uint64_t t = (r->periods + 1) * periodic_ticks(r);

	return t / CRYSTAL_HZ * NS + (t % CRYSTAL_HZ * NS + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

/* Raises the flags of what happened since the last look, however long ago that was. */
static void
rtc_look(struct rtc *r)
{
	int64_t before = r->second;
	uint64_t periods;

	read_clocks(r);
	periods = periods_now(r);
	if (periods != r->periods)
		r->reg[REG_C] |= C_PERIODIC;
	r->periods = periods;
	if (!clock_runs(r))
		return;
	clock_follow(r);
	if (r->second > before) {
		r->reg[REG_C] |= C_UPDATE;
		if (alarm_after(r, before) <= r->second)
			r->reg[REG_C] |= C_ALARM;
	}
}

/* When now() will be at the second `at` of our clock. */
static uint64_t
moment_of(const struct rtc *r, int64_t at)
{
	return r->seen + (uint64_t)((at - r->clock.tv_sec) * NS - r->clock.tv_nsec);
}

static uint64_t
rtc_due(const struct rtc *r)
{
	uint8_t wanted = r->reg[REG_B];
	uint64_t due = UINT64_MAX;
	int64_t next = INT64_MAX;

	if (r->irq)
		return UINT64_MAX; /* the line is up already: the rest can wait until C is read */
	if ((wanted & B_PERIODIC_IRQ) && periodic_ticks(r))
		due = next_period(r);
	if (clock_runs(r) && (wanted & B_UPDATE_IRQ))
		next = r->second + 1;
	else if (clock_runs(r) && (wanted & B_ALARM_IRQ))
		next = alarm_after(r, r->second);
	if (next != INT64_MAX && moment_of(r, next) < due)
		due = moment_of(r, next);
	return due;
}

/* The two clocks are not read at one instant, so the same second is due a few ns apart at each look. That is
 * not worth a system call: a timer that comes early is set again. */
static bool
is_armed(const struct rtc *r, uint64_t due)
{
	return (due > r->armed ? due - r->armed : r->armed - due) <= SAME_NS;
}

static void
rtc_tell_host(struct rtc *r)
{
	const struct device_host *h = r->dev.host;
	bool irq = r->reg[REG_C] & r->reg[REG_B] & C_FLAGS;
	uint64_t due;

	if (irq != r->irq)
		h->irq(h->ctx, IRQ_RTC, irq);
	r->irq = irq;
	due = rtc_due(r);
	if (is_armed(r, due))
		return;
	h->timer(h->ctx, &r->dev, due);
	r->armed = due;
}

/* --- accesses ---------------------------------------------------------------------------------- */

/* A write to register A or B may stop the clock or let it go on from what its registers hold. */
static void
write_control(struct rtc *r, unsigned reg, uint8_t v)
{
	bool ran = clock_runs(r), counted = divider_counts(r);

	r->reg[reg] = v;
	if (r->reg[REG_B] & B_SET)
		r->reg[REG_B] &= (uint8_t)~B_UPDATE_IRQ;
	if (!counted && divider_counts(r))
		divider_start(r);
	if (ran && !clock_runs(r))
		clock_to_registers(r);
	else if (!ran && clock_runs(r))
		clock_set(r, clock_from_registers(r));
	r->periods = periods_now(r);
}

static void
write_clock(struct rtc *r, unsigned reg, uint8_t v)
{
	if (clock_runs(r))
		clock_to_registers(r);
	r->reg[reg] = v;
	if (clock_runs(r))
		clock_set(r, clock_from_registers(r));
}

static void
write_register(struct rtc *r, unsigned reg, uint8_t v)
{
	if (reg == REG_A)
		write_control(r, reg, v & (uint8_t)~A_UPDATING);
	else if (reg == REG_B)
		write_control(r, reg, v);
	else if (is_clock(reg))
		write_clock(r, reg, v);
	else if (reg != REG_C && reg != REG_D)
		r->reg[reg] = v;
}

static bool
is_updating(const struct rtc *r)
{
	/* Not while the wall clock is waited for: its next edge is no update. */
	return clock_runs(r) && r->second == r->clock.tv_sec && r->clock.tv_nsec >= NS - UPDATING_NS;
}

static uint8_t
read_register(struct rtc *r, unsigned reg)
{
	uint8_t v;

	if (is_clock(reg) && clock_runs(r))
		clock_to_registers(r);
	v = r->reg[reg];
	if (reg == REG_A && is_updating(r))
		v |= A_UPDATING;
	if (reg == REG_C) {
		v |= r->irq ? C_IRQ : 0;
		r->reg[REG_C] = 0;
	}
	return v;
}

static uint32_t
rtc_read(struct device *dev, uint32_t off, unsigned size)
{
	struct rtc *r = (struct rtc *)dev;
	uint8_t v;

	(void)size; /* 1, by width */
	if (off == OFF_INDEX)
		return 0xff; /* write only */
	rtc_look(r);
	rtc_tell_host(r); /* before register C is read: it shows what the line does */
	v = read_register(r, r->index);
	rtc_tell_host(r);
	return v;
}

static void
rtc_write(struct device *dev, uint32_t off, unsigned size, uint32_t value)
{
	struct rtc *r = (struct rtc *)dev;

	(void)size;
	if (off == OFF_INDEX) {
		r->index = value & (RTC_NREGS - 1); /* bit 7 masks NMI: not ours */
		return;
	}
	rtc_look(r);
	write_register(r, r->index, (uint8_t)value);
	rtc_tell_host(r);
}

static void
rtc_expire(struct device *dev)
{
	struct rtc *r = (struct rtc *)dev;

	r->armed = 0; /* whatever the host thinks, tell it anew */
	rtc_look(r);
	rtc_tell_host(r);
}

/* Time and memory have a battery: a reset leaves them. The divider is as a PC's firmware would set it. */
static void
rtc_reset(struct device *dev)
{
	struct rtc *r = (struct rtc *)dev;

	rtc_look(r);
	write_control(r, REG_A, A_POWER_ON);
	write_control(r, REG_B, r->reg[REG_B] & (B_24_HOURS | B_BINARY));
	r->reg[REG_C] = 0;
	r->index = 0;
	rtc_tell_host(r);
}

/* --- saving ------------------------------------------------------------------------------------ */

static void
snap_seconds(struct snap *s, const char *name, int64_t *v, int64_t limit)
{
	uint64_t biased = (uint64_t)(*v + limit);

	snap_u64(s, name, &biased, (uint64_t)(2 * limit));
	*v = (int64_t)biased - limit;
}

static void
rtc_snap(struct device *dev, struct snap *s)
{
	struct rtc *r = (struct rtc *)dev;

	if (s->saving)
		rtc_look(r);
	snap_u8(s, "index", &r->index, RTC_NREGS - 1);
	snap_bytes(s, "registers", r->reg, sizeof(r->reg));
	snap_seconds(s, "offset", &r->offset, 2 * SECONDS_MAX);
	snap_u32(s, "offset ns", &r->offset_ns, NS - 1);
	snap_seconds(s, "second", &r->second, 4 * SECONDS_MAX);
	snap_check(s, !(r->reg[REG_A] & A_UPDATING), "register A", "UIP is set");
	snap_check(s, !(r->reg[REG_B] & B_SET) || !(r->reg[REG_B] & B_UPDATE_IRQ), "register B",
	    "SET and UIE are both set");
	snap_check(s, !(r->reg[REG_C] & ~C_FLAGS), "register C", "unknown bits");
	snap_check(s, r->reg[REG_D] == D_VALID, "register D", "not as it always is");
}

static void
rtc_restored(struct device *dev)
{
	struct rtc *r = (struct rtc *)dev;
	const struct device_host *h = dev->host;

	/* From the last second seen on, so that an alarm that came due meanwhile is noticed. */
	read_clocks(r);
	r->periods = periods_now(r);
	rtc_look(r);
	rtc_tell_host(r);
	h->irq(h->ctx, IRQ_RTC, r->irq); /* said again: the interrupt controllers are new to us */
}

static void
rtc_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops rtc_ops = {
	.name = "rtc",
	.version = 2, /* 1 counted the wall clock in whole seconds */
	.width = 1,
	.read = rtc_read,
	.write = rtc_write,
	.reset = rtc_reset,
	.expire = rtc_expire,
	.snap = rtc_snap,
	.restored = rtc_restored,
	.free = rtc_free,
};

struct device *
rtc_new(const struct device_host *host, unsigned instance)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	device_init(&r->dev, &rtc_ops, host, instance);
	r->reg[REG_A] = A_POWER_ON;
	r->reg[REG_B] = B_24_HOURS;
	r->reg[REG_D] = D_VALID;
	r->armed = UINT64_MAX;
	read_clocks(r);
	r->second = r->clock.tv_sec;
	r->periods = periods_now(r);
	return &r->dev;
}
