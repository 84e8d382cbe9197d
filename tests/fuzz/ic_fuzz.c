/*
 * tests/fuzz/ic_fuzz.c - guests' answers to integration components, good, odd and malformed, in any state;
 * with rings spoilt, channels closed and opened, pauses, the passing of time, requests of the controller, and
 * components switched off and on, saved and restored, in between.
 *
 * In the end every operation that was begun has ended once: a lost one would be waited for, for ever. Whoever
 * was sent FREEZE is sent THAW, or is gone.
 */
#include "hypervisor/vsp/ic_text.h"
#include "lib/text.h"

#include <sys/mman.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_ic.h"

enum { MOST = 200, STATE_MAX = 256, SOURCE = 20000 };

struct input {
	const uint8_t *p;
	size_t n;
};

struct fuzzed {
	struct fake_ic x;
	struct input in;
	int source;
	unsigned begun[IC_OPS]; /* that have to end */
	bool spoilt[IC_KINDS];  /* its ring: nothing is taken from it any more */
};

static uint8_t
take(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static bool
is_open(const struct fuzzed *z, unsigned i)
{
	return z->x.c[i].ch.kick_fd > 0 && z->x.c[i].ch.open;
}

/* Both threads; what ended had begun. */
static void
run(struct fuzzed *z)
{
	must(fake_ic_run(&z->x));
	must(z->x.ends <= FAKE_ENDS);
	for (unsigned i = 0; i < z->x.ends; i++) {
		enum ic_op op = z->x.end[i].op;

		if (op == IC_OP_THAW) /* comes by itself, too */
			continue;
		must(z->begun[op] == 1);
		z->begun[op] = 0;
	}
	z->x.ends = 0;
	for (unsigned i = 0; i < IC_KINDS; i++)
		if (!is_open(z, i))
			fake_ic_unmap(&z->x, (enum ic_kind)i);
}

static void
began(struct fuzzed *z, enum ic_op op, int rc)
{
	if (rc == 0) /* its end may have been told already, and is counted in `run` */
		z->begun[op]++;
	must(z->begun[op] <= 1);
	run(z);
}

/* --- The guest --- */

static void
open_or_close(struct fuzzed *z, enum ic_kind k)
{
	if (is_open(z, k)) {
		z->x.c[k].ch.device->ops->close(z->x.c[k].ch.device, &z->x.c[k].ch);
	} else if (z->x.s->config.on[k]) {
		z->spoilt[k] = false;
		fake_ic_open(&z->x, k);
		run(z);
		if (fake_ic_take(&z->x, k) >= 0 && !z->x.s->held)
			fake_ic_agree(&z->x, k, 3 << 16, fake_ic_newest(k));
	}
	run(z);
}

/* As a driver would, or with a few bytes changed, or another length. */
static void
answer(struct fuzzed *z, enum ic_kind k)
{
	static const uint32_t statuses[] = { 0, 0, 0, 0x80070103, 0x80004005, 0x80070050 };
	uint8_t how = take(&z->in), changes = how >> 4 & 3;
	struct fake_ic_channel *c = &z->x.c[k];

	if (!is_open(z, k) || z->spoilt[k] || fake_ic_take(&z->x, k) < 0)
		return;
	if (k == IC_HEARTBEAT && !(how & 0x80))
		c->message[IC_HEAD]++;
	for (unsigned i = 0; i < changes; i++)
		c->message[(take(&z->in) | (size_t)take(&z->in) << 8) % 8192] = take(&z->in);
	if (how & 0x40)
		fake_ic_send(&z->x, k, take(&z->in) * 64u + take(&z->in));
	else if (get_le16(c->message + IC_PIPE + 4) == 0 && !changes)
		fake_ic_agree(&z->x, k, 3 << 16, how & 8 ? 1 << 16 : fake_ic_newest(k));
	else
		fake_ic_answer(&z->x, k, statuses[(how & 7) % 6]);
	run(z);
}

static void
again(struct fuzzed *z, enum ic_kind k)
{
	struct fake_ic_channel *c = &z->x.c[k];

	if (is_open(z, k) && c->len > 0 && c->len < FAKE_IC_MESSAGE)
		fake_ic_send(&z->x, k, (size_t)c->len);
	run(z);
}

static void
raw(struct fuzzed *z, enum ic_kind k)
{
	uint8_t p[64], type = take(&z->in), flags = take(&z->in);
	size_t len = take(&z->in) % sizeof(p);

	for (size_t i = 0; i < len; i++)
		p[i] = take(&z->in);
	if (is_open(z, k))
		fake_send(&z->x.c[k].guest, type % 13, flags, 3, NULL, 0, p, len);
	run(z);
}

static void
spoil(struct fuzzed *z, enum ic_kind k)
{
	struct fake_channel *g = &z->x.c[k].guest;
	uint8_t what = take(&z->in);
	uint32_t v = take(&z->in) * 8u + (what >> 7);

	if (!is_open(z, k))
		return;
	z->spoilt[k] = true;
	if (what & 1)
		g->out.control->write_index = v;
	else if (what & 2)
		g->in.control->read_index = v;
	else
		g->out.data[v % g->out.size] = what;
	fake_kick(&z->x.f, g->connection);
	run(z);
}

/* --- The host --- */

static void
request(struct fuzzed *z)
{
	uint8_t what = take(&z->in), how = take(&z->in);
	struct ic_ip ip = { .adapter = "a", .family = how & 1 };
	struct ic_copy copy = { .name = "n", .path = "p", .overwrite = how & 1 };
	char key[2] = { (char)('a' + how % 8) };
	struct ics *s = z->x.s;
	bool changed;

	switch (what % 10) {
	case 0:
		began(
		    z, IC_OP_SHUTDOWN, ic_shutdown(s, (enum ic_shutdown_kind)(how % 3), how & 4, "r", NULL));
		break;
	case 1:
		began(z, IC_OP_TIME, ic_time_sync(s, NULL));
		break;
	case 2:
		began(z, IC_OP_FACTS, ic_kvp_refresh(s, NULL));
		break;
	case 3:
		began(z, IC_OP_IP_GET, z->begun[IC_OP_IP_SET] ? -EBUSY : ic_ip_get(s, &ip, NULL));
		break;
	case 4:
		began(z, IC_OP_IP_SET, z->begun[IC_OP_IP_GET] ? -EBUSY : ic_ip_set(s, &ip, NULL));
		break;
	case 5:
		began(z, IC_OP_FREEZE, ic_freeze(s, 1u + how, NULL));
		break;
	case 6:
		ic_thaw(s, NULL);
		break;
	case 7:
		copy.fd = dup(z->source);
		must(ftruncate(z->source, how * (SOURCE / 256)) == 0);
		began(z, IC_OP_COPY, ic_copy(s, &copy, NULL));
		break;
	case 8:
		ic_copy_cancel(s, NULL);
		break;
	default:
		if (how & 16)
			ic_kvp_delete(s, how & 32 ? KVP_HOST : KVP_EXTERNAL, key, &changed, NULL);
		else
			ic_kvp_set(
			    s, how & 32 ? KVP_HOST : KVP_EXTERNAL, key, how & 64 ? "v" : "w", &changed, NULL);
	}
	run(z);
}

static void
look(struct fuzzed *z)
{
	static struct kvp_item item[KVP_ITEMS];
	struct ic_report r;
	size_t total;

	for (unsigned i = 0; i < IC_KINDS; i++) {
		ics_report(z->x.s, (enum ic_kind)i, &r);
		must(r.state < IC_STATES && r.application <= 3);
	}
	for (unsigned pool = 0; pool < KVP_POOLS; pool++) {
		size_t n = ic_kvp_list(z->x.s, (enum kvp_pool)pool, 0, item, KVP_ITEMS, &total);

		must(n == total);
		for (size_t i = 0; i < n; i++)
			must(text_is_clean(item[i].key, strlen(item[i].key)) &&
			     text_is_clean(item[i].value, strlen(item[i].value)));
	}
}

static void
hold_or_go(struct fuzzed *z)
{
	if (z->x.s->held)
		ics_go(z->x.s);
	else
		ics_hold(z->x.s);
	run(z);
}

/* In another worker: what was begun here has nobody who waits for it there. */
static void
save_and_restore(struct fuzzed *z)
{
	uint8_t buf[IC_KINDS][STATE_MAX], changes = take(&z->in) % 4;
	size_t len[IC_KINDS] = { 0 };
	bool open[IC_KINDS];
	struct ic_config config = z->x.s->config;
	struct snap s;

	ics_hold(z->x.s);
	run(z);
	for (unsigned i = 0; i < IC_KINDS; i++) {
		struct vmbus_device *d = &z->x.s->ic[i]->dev;

		open[i] = is_open(z, i);
		snap_save_to(&s, buf[i], STATE_MAX);
		d->ops->snap(d, &s);
		must(snap_end(&s) == 0);
		len[i] = s.pos;
	}
	fake_ic_drop(&z->x);
	memset(z->begun, 0, sizeof(z->begun));
	z->x.ends = z->x.work = 0;
	fake_ic_make(&z->x, &config);
	for (unsigned i = 0; i < changes; i++) {
		unsigned k = take(&z->in) % IC_KINDS;

		buf[k][take(&z->in) % len[k]] = take(&z->in);
	}
	for (unsigned i = 0; i < IC_KINDS; i++) {
		struct vmbus_device *d = &z->x.s->ic[i]->dev;

		if (open[i]) {
			fake_ic_map(&z->x, (enum ic_kind)i);
			must(d->ops->open(d, &z->x.c[i].ch, NULL) == 0);
		}
		snap_restore_from(&s, buf[i], len[i]);
		d->ops->snap(d, &s);
		if (snap_end(&s) < 0) {
			must(changes);
			if (open[i])
				d->ops->close(d, &z->x.c[i].ch);
			continue;
		}
		d->ops->restored(d);
	}
	run(z);
	ics_go(z->x.s);
	run(z);
}

static void
step(struct fuzzed *z)
{
	uint8_t what = take(&z->in);
	enum ic_kind k = (enum ic_kind)(what / 16 % IC_KINDS);
	bool changed;

	switch (what % 16) {
	case 0:
	case 1:
		open_or_close(z, k);
		break;
	case 2:
		again(z, k);
		break;
	case 3:
		raw(z, k);
		break;
	case 4:
		spoil(z, k);
		break;
	case 5:
		hold_or_go(z);
		break;
	case 6:
		save_and_restore(z);
		break;
	case 7:
		ics_set(z->x.s, k, !z->x.s->config.on[k], &changed, NULL);
		break;
	case 8:
	case 9:
	case 10:
		request(z);
		break;
	case 11:
		fake_ic_pass(&z->x, take(&z->in) * 500u);
		break;
	default:
		answer(z, k);
	}
	run(z);
}

/* A guest that is gone, or a time that is long enough, ends everything. */
static void
end(struct fuzzed *z)
{
	look(z);
	if (z->x.s->held)
		ics_go(z->x.s);
	for (unsigned i = 0; i < IC_KINDS; i++)
		fake_ic_close(&z->x, (enum ic_kind)i);
	run(z);
	for (unsigned op = 0; op < IC_OPS; op++)
		must(z->begun[op] == 0);
	must(!z->x.s->vss.frozen && z->x.s->fcopy.fd == -1);
	fake_ic_pass(&z->x, 1000000);
	must(!z->x.loop->timers); /* nobody is woken */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzzed z;

	memset(&z, 0, sizeof(z));
	z.in = (struct input){ data, size };
	z.source = memfd_create("source", MFD_CLOEXEC);
	fake_ic_init(&z.x);
	for (unsigned n = 0; n < MOST && z.in.n; n++)
		step(&z);
	end(&z);
	fake_ic_free(&z.x);
	close(z.source);
	return 0;
}
