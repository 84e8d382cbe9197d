/*
 * hypervisor/vsp/ic_shutdown.c - the guest is asked to turn itself off, to start again, or to hibernate. It
 * answers whether it will; that it has is seen by its machine's end.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/ic_private.h"
#include "hypervisor/vsp/ic_text.h"

enum {
	FORCE = 1,
	RESTART = 2,
	HIBERNATE = 4, /* flags */
	TEXT = 2048,
	LIMIT_MS = 30000,
};
#define PLANNED 0x80000000u /* reason */

struct request {
	struct ics *s;
	uint32_t flags;
	const char *reason;
	int rc;
};

static void
begin(void *arg)
{
	struct request *r = arg;
	struct ic_shutdown *d = &r->s->shutdown;

	r->rc = d->c.state != IC_READY ? -ENOTCONN : d->wanted ? -EBUSY : 0;
	if (r->rc == 0 && !ic_text_put(r->reason, d->text, sizeof(d->text) / 2, NULL))
		r->rc = -E2BIG;
	if (r->rc < 0)
		return;
	d->flags = r->flags;
	d->wanted = true;
	ic_next(&d->c);
}

int
ic_shutdown(struct ics *s, enum ic_shutdown_kind kind, bool force, const char *reason, struct err *e)
{
	static const uint32_t flags[] = {
		[IC_POWER_OFF] = 0, [IC_REBOOT] = RESTART, [IC_HIBERNATE] = HIBERNATE
	};
	struct request r = { .s = s, .flags = flags[kind] | (force ? FORCE : 0), .reason = reason };

	io_loop_call(s->loop, begin, &r);
	if (r.rc == -E2BIG)
		return err_set(e, E2BIG, "Reason: it is longer than %d characters", IC_REASON);
	if (r.rc == -EBUSY)
		return err_set(e, EBUSY, "the guest has been asked already and has not answered yet");
	return r.rc < 0 ? ic_not_there(IC_SHUTDOWN, e) : 0;
}

static void
nothing(struct ic *c)
{
	(void)c;
}

static void
next(struct ic *c)
{
	struct ic_shutdown *d = (struct ic_shutdown *)c;
	uint8_t p[12 + TEXT];

	if (!d->wanted || d->sent)
		return;
	d->sent = true;
	put_le32(p, PLANNED);
	put_le32(p + 4, 0); /* at once */
	put_le32(p + 8, d->flags);
	memcpy(p + 12, d->text, TEXT);
	ic_ask(c, p, sizeof(p), LIMIT_MS);
}

static void
end(struct ic_shutdown *d, int rc, uint32_t status)
{
	bool was = d->wanted;

	d->wanted = d->sent = false;
	if (was)
		ic_ended(d->c.all, IC_OP_SHUTDOWN, rc, status);
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	(void)p, (void)len;
	end((struct ic_shutdown *)c, status == IC_OK ? 0 : -EREMOTEIO, status);
	return 0;
}

static void
stop(struct ic *c, int rc)
{
	end((struct ic_shutdown *)c, rc, 0);
}

static const uint32_t versions[] = { 1 << 16, 3 << 16, 3 << 16 | 1, 3 << 16 | 2, 0 };

const struct ic_type ic_shutdown_type = {
	.name = "shutdown",
	.label = "shutdown",
	.class = "0e0b6031-5213-4934-818b-38d90ced39db",
	.instance = "b6650ff7-33bc-4840-8048-e0676786f393",
	.message = 3,
	.versions = versions,
	.ready = nothing,
	.next = next,
	.answer = answer,
	.stop = stop,
};
