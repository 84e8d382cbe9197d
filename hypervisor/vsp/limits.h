/*
 * hypervisor/vsp/limits.h - how much of the host's storage one unit may take, and how little it should get.
 *
 * Requests are counted as Hyper-V counts them: each begun 8 KiB is one. The caller brings the clock and the
 * thread.
 */
#ifndef HYPERVISOR_VSP_LIMITS_H
#define HYPERVISOR_VSP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum { LIMITS_REQUEST = 8192 };

/* At most `per_s` a second: what is taken now moves the time at which more may be taken. */
struct ceiling {
	uint64_t per_s; /* 0: no limit */
	uint64_t due;   /* ns: nothing before */
};

struct limits {
	struct ceiling requests, bytes;
};

void limits_set(struct limits *l, uint64_t max_iops, uint64_t max_bytes);
static inline bool
limits_on(const struct limits *l)
{
	return l->requests.per_s || l->bytes.per_s;
}
/* Takes a transfer's share: 0, or, when nothing was taken, the time at which to ask again. */
uint64_t limits_take(struct limits *l, uint64_t bytes, uint64_t now);

/*
 * The minimum: whether a unit that had something to do got so many requests a second. Looked at in windows,
 * which exist only while there is something to do.
 */
enum { FLOOR_WINDOW_S = 10 };
struct iops_floor {
	uint64_t min_iops; /* 0: none */
	uint64_t begun;    /* ns: of the window; 0: no window */
	uint64_t busy_at;  /* ns: since when there has been something to do; 0: nothing */
	uint64_t busy;     /* ns of this window, up to busy_at */
	uint64_t got;
};

/* Something to do: true when a window begins, which ends after FLOOR_WINDOW_S. */
bool floor_busy(struct iops_floor *f, uint64_t now);
void floor_idle(struct iops_floor *f, uint64_t now);
void floor_got(struct iops_floor *f, uint64_t bytes);
/* A window ends: true when the unit wanted more and got less, *iops then tells how much. The next begins at
 * once if there is something to do (then f->begun is not 0). */
bool floor_window_ends(struct iops_floor *f, uint64_t now, uint64_t *iops);

#endif
