/* hypervisor/vsp/ic_kvp_facts.c - facts as the control thread sees, sets and removes them. */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/ic_private.h"
#include "hypervisor/vsp/ic_text.h"
#include "lib/text.h"

struct request {
	struct ics *s;
	enum kvp_pool pool;
	const char *key, *value;
	struct kvp_item *out;
	size_t from, cap, n, total;
	bool changed;
	int rc;
};

static bool
is_hosts(enum kvp_pool pool)
{
	return pool == KVP_EXTERNAL || pool == KVP_HOST;
}

static bool
is_there(const struct ic_kvp *k, enum kvp_pool pool, unsigned at)
{
	uint8_t state = k->state[pool][at];

	return is_hosts(pool) ? state == FACT_NEW || state == FACT_TOLD : at < k->n[pool];
}

static void
copy(const struct ic_kvp *k, enum kvp_pool pool, unsigned at, struct kvp_item *out)
{
	*out = k->item[pool][at];
	out->told = k->state[pool][at] == FACT_TOLD;
}

static void
list_on_loop(void *arg)
{
	struct request *r = arg;
	const struct ic_kvp *k = &r->s->kvp;

	for (unsigned at = 0; at < KVP_ITEMS; at++) {
		if (!is_there(k, r->pool, at))
			continue;
		if (r->total++ >= r->from && r->n < r->cap)
			copy(k, r->pool, at, &r->out[r->n++]);
	}
}

size_t
ic_kvp_list(struct ics *s, enum kvp_pool pool, size_t from, struct kvp_item *out, size_t cap, size_t *total)
{
	struct request r = { .s = s, .pool = pool, .from = from, .out = out, .cap = cap };

	io_loop_call(s->loop, list_on_loop, &r);
	*total = r.total;
	return r.n;
}

/* KVP_ITEMS: it is not there. */
static unsigned
find(const struct ic_kvp *k, enum kvp_pool pool, const char *key)
{
	unsigned at = 0;

	while (at < KVP_ITEMS && !(is_there(k, pool, at) && strcmp(k->item[pool][at].key, key) == 0))
		at++;
	return at;
}

static void
get_on_loop(void *arg)
{
	struct request *r = arg;
	unsigned at = find(&r->s->kvp, r->pool, r->key);

	r->rc = at < KVP_ITEMS ? 0 : -ENOENT;
	if (r->rc == 0)
		copy(&r->s->kvp, r->pool, at, r->out);
}

static int
not_found(const char *key, struct err *e)
{
	return err_set(e, ENOENT, "there is no fact '%.100s'", key);
}

int
ic_kvp_get(struct ics *s, enum kvp_pool pool, const char *key, struct kvp_item *out, struct err *e)
{
	struct request r = { .s = s, .pool = pool, .key = key, .out = out };

	io_loop_call(s->loop, get_on_loop, &r);
	return r.rc < 0 ? not_found(key, e) : 0;
}

/* One that is told in this moment stays as it is until the guest has answered: not this one. */
static bool
is_under_way(const struct ic_kvp *k, enum kvp_pool pool, unsigned at)
{
	return k->doing == KVP_TELLING && k->pool == pool && k->place == at;
}

/* Room for a new one: where none is, or one that the guest should have forgotten and has not yet. */
static unsigned
find_room(const struct ic_kvp *k, enum kvp_pool pool, const char *key)
{
	unsigned at, room = KVP_ITEMS;

	for (at = 0; at < KVP_ITEMS; at++)
		if (k->state[pool][at] == FACT_GOING && strcmp(k->item[pool][at].key, key) == 0 &&
		    !is_under_way(k, pool, at))
			return at;
	for (at = KVP_ITEMS; at-- > 0;)
		if (k->state[pool][at] == FACT_NONE && !is_under_way(k, pool, at))
			room = at;
	for (at = 0; room == KVP_ITEMS && at < KVP_ITEMS; at++)
		if (k->state[pool][at] == FACT_GOING && !is_under_way(k, pool, at))
			room = at;
	return room;
}

static void
set_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_kvp *k = &r->s->kvp;
	unsigned at = find(k, r->pool, r->key);

	if (at < KVP_ITEMS && strcmp(k->item[r->pool][at].value, r->value) == 0)
		return;
	r->rc = -EBUSY;
	if (at < KVP_ITEMS && is_under_way(k, r->pool, at))
		return;
	if (at == KVP_ITEMS)
		at = find_room(k, r->pool, r->key);
	r->rc = at == KVP_ITEMS ? -ENOSPC : 0;
	if (r->rc < 0)
		return;
	memset(&k->item[r->pool][at], 0, sizeof(k->item[r->pool][at]));
	text_copy(k->item[r->pool][at].key, KVP_KEY + 1, r->key);
	text_copy(k->item[r->pool][at].value, KVP_VALUE + 1, r->value);
	k->state[r->pool][at] = FACT_NEW;
	r->changed = true;
	ic_next(&k->c);
}

static int
check_pool(enum kvp_pool pool, struct err *e)
{
	return is_hosts(pool) ? 0
			      : err_set(e, EINVAL, "Pool: %s belongs to the guest; the host's are %s and %s",
				    kvp_pools[pool], kvp_pools[KVP_EXTERNAL], kvp_pools[KVP_HOST]);
}

static int
being_told(const char *key, struct err *e)
{
	return err_set(e, EBUSY, "the guest is being told '%.100s' in this moment: try again", key);
}

int
ic_kvp_set(
    struct ics *s, enum kvp_pool pool, const char *key, const char *value, bool *changed, struct err *e)
{
	struct request r = { .s = s, .pool = pool, .key = key, .value = value };
	uint8_t units[2048];
	int rc = check_pool(pool, e);

	if (rc < 0)
		return rc;
	if (!*key || !ic_text_put(key, units, 256, NULL))
		return err_set(e, EINVAL, "Key: it has to have 1 to 255 characters");
	if (!ic_text_put(value, units, 1024, NULL))
		return err_set(e, EINVAL, "Value: it may have 1023 characters");
	io_loop_call(s->loop, set_on_loop, &r);
	*changed = r.changed;
	if (r.rc == -ENOSPC)
		return err_set(e, ENOSPC, "a pool has room for %d facts", KVP_ITEMS);
	return r.rc < 0 ? being_told(key, e) : 0;
}

static void
delete_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_kvp *k = &r->s->kvp;
	unsigned at = find(k, r->pool, r->key);
	uint8_t *state;

	if (at == KVP_ITEMS)
		return;
	r->rc = is_under_way(k, r->pool, at) ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	state = &k->state[r->pool][at];
	*state = *state == FACT_TOLD ? FACT_GOING : FACT_NONE;
	k->item[r->pool][at].told = false;
	r->changed = true;
	ic_next(&k->c);
}

int
ic_kvp_delete(struct ics *s, enum kvp_pool pool, const char *key, bool *changed, struct err *e)
{
	struct request r = { .s = s, .pool = pool, .key = key };
	int rc = check_pool(pool, e);

	if (rc < 0)
		return rc;
	io_loop_call(s->loop, delete_on_loop, &r);
	*changed = r.changed;
	return r.rc < 0 ? being_told(key, e) : 0;
}

static void
refresh_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_kvp *k = &r->s->kvp;

	r->rc = k->c.state != IC_READY ? -ENOTCONN : k->wanted ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	k->wanted = true;
	if (k->doing != KVP_READING)
		k->read_due = true;
	ic_next(&k->c);
}

int
ic_kvp_refresh(struct ics *s, struct err *e)
{
	struct request r = { .s = s };

	io_loop_call(s->loop, refresh_on_loop, &r);
	if (r.rc == -EBUSY)
		return err_set(e, EBUSY, "the guest's facts are being read already");
	return r.rc < 0 ? ic_not_there(IC_KVP, e) : 0;
}
