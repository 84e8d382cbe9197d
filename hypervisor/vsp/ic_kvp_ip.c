/*
 * hypervisor/vsp/ic_kvp_ip.c - the addresses of a guest's network adapter, asked for and set. For a question
 * the adapter is named by its MAC address, for a setting by the GUID of its device, as drivers want it.
 * Unlike other messages of KVP these have nothing between their two bytes of operation and pool and what
 * follows (hv_kvp_ip_msg in Linux's hyperv.h).
 */
#include <errno.h>

#include "hypervisor/vsp/ic_private.h"
#include "hypervisor/vsp/ic_text.h"

/* A text in the message: where, units of UTF-16, and where it is in struct ic_ip. */
static const struct text {
	size_t at, units, field, size;
} texts[] = {
#define TEXT(at_, units_, field_)                                                                \
	{                                                                                        \
		at_, units_, offsetof(struct ic_ip, field_), sizeof(((struct ic_ip *)0)->field_) \
	}
	TEXT(2, IP_ADAPTER + 1, adapter),
	TEXT(260, IP_TEXT + 1, address),
	TEXT(2308, IP_TEXT + 1, mask),
	TEXT(4356, 512, gateway),
	TEXT(5380, IP_TEXT + 1, dns),
#undef TEXT
};
enum { TEXTS = sizeof(texts) / sizeof(texts[0]), FAMILY = 258, DHCP = 259, IPV4 = 1, IPV6 = 2 };

struct request {
	struct ics *s;
	const uint8_t *message;
	struct ic_ip *ip;
	int rc;
};

static int
fill(uint8_t *p, uint8_t op, const struct ic_ip *ip, struct err *e)
{
	memset(p, 0, KVP_IP_MESSAGE);
	p[0] = op;
	p[FAMILY] = ip->family ? IPV6 : IPV4;
	p[DHCP] = ip->dhcp;
	for (unsigned i = 0; i < (op == KVP_IP_SET ? TEXTS : 1); i++)
		if (!ic_text_put((const char *)ip + texts[i].field, p + texts[i].at, texts[i].units, NULL))
			return err_set(e, E2BIG, "a list of addresses is longer than %zu characters",
			    texts[i].units - 1);
	return 0;
}

static void
begin(void *arg)
{
	struct request *r = arg;
	struct ic_kvp *k = &r->s->kvp;

	r->rc = k->c.state != IC_READY ? -ENOTCONN : k->ip_wanted ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	k->ip_wanted = true;
	k->ip_set = r->message[0] == KVP_IP_SET;
	memcpy(k->ip_message, r->message, KVP_IP_MESSAGE);
	ic_next(&k->c);
}

static int
ask(struct ics *s, uint8_t op, const struct ic_ip *ip, struct err *e)
{
	uint8_t message[KVP_IP_MESSAGE];
	struct request r = { .s = s, .message = message };
	int rc = fill(message, op, ip, e);

	if (rc < 0)
		return rc;
	io_loop_call(s->loop, begin, &r);
	if (r.rc == -EBUSY)
		return err_set(
		    e, EBUSY, "the guest has been asked about its addresses, and not answered yet");
	return r.rc < 0 ? ic_not_there(IC_KVP, e) : 0;
}

int
ic_ip_get(struct ics *s, const struct ic_ip *ip, struct err *e)
{
	return ask(s, KVP_IP_GET, ip, e);
}

int
ic_ip_set(struct ics *s, const struct ic_ip *ip, struct err *e)
{
	return ask(s, KVP_IP_SET, ip, e);
}

int
kvp_ip_answer(struct ic_kvp *k, const uint8_t *p, size_t len)
{
	if (len < KVP_IP_MESSAGE)
		return -EPROTO;
	for (unsigned i = 0; i < TEXTS; i++)
		ic_text_get(p + texts[i].at, texts[i].units, (char *)&k->ip + texts[i].field, texts[i].size);
	k->ip.family = p[FAMILY] == IPV6;
	k->ip.dhcp = p[DHCP] != 0;
	return 0;
}

static void
result_on_loop(void *arg)
{
	struct request *r = arg;

	*r->ip = r->s->kvp.ip;
}

void
ic_ip_result(struct ics *s, struct ic_ip *ip)
{
	io_loop_call(s->loop, result_on_loop, &(struct request){ .s = s, .ip = ip });
}
