/* tests/unit/ic_facts_test.c - texts, facts of host and guest, addresses, and files that are copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "hypervisor/vsp/ic_text.h"
#include "lib/text.h"
#include "tests/unit/fake_ic.h"

static struct fake_ic x;

static int
setup(void **state)
{
	(void)state;
	fake_ic_init(&x);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_ic_free(&x);
	return 0;
}

/* --- Texts --- */

static void
utf16_becomes_clean_utf8(void **state)
{
	static const struct {
		uint16_t in[6];
		const char *out;
	} t[] = {
		{ { 'a', 0xe4, 0x20ac, 0, 'b' }, "a\xc3\xa4\xe2\x82\xac" },
		{ { 0xd83d, 0xde00 }, "\xf0\x9f\x98\x80" },
		{ { 0xd83d, 'a' }, "?a" },    /* half a pair */
		{ { 0xde00, 0xd83d }, "??" }, /* the wrong way round */
		{ { 'a', '\n', 0x7f, 0x9f, 0x1b }, "a????" },
		{ { 0xdbff, 0xdfff }, "\xf4\x8f\xbf\xbf" },
	};
	uint8_t in[12];
	char out[32];

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (unsigned u = 0; u < 6; u++)
			put_le16(in + 2 * u, t[i].in[u]);
		ic_text_get(in, 6, out, sizeof(out));
		assert_string_equal(out, t[i].out);
	}
	memset(in, 0xff, sizeof(in)); /* no zero, and U+FFFF */
	ic_text_get(in, 6, out, sizeof(out));
	assert_int_equal(strlen(out), 18);
	assert_true(text_is_clean(out, strlen(out)));
	ic_text_get(in, 6, out, 6); /* whole characters alone */
	assert_int_equal(strlen(out), 3);
	put_le16(in + 10, 0xd83d);
	ic_text_get(in, 6, out, sizeof(out)); /* ends in half a pair */
	assert_string_equal(out + 15, "?");
	ic_text_get(in, 0, out, sizeof(out));
	assert_string_equal(out, "");
}

static void
utf8_becomes_utf16_if_it_fits(void **state)
{
	uint8_t p[8];
	char out[16];
	size_t used;

	(void)state;
	assert_true(ic_text_put("a\xe2\x82\xac", p, 4, &used));
	assert_int_equal(used, 6);
	ic_text_get(p, 4, out, sizeof(out));
	assert_string_equal(out, "a\xe2\x82\xac");
	assert_true(ic_text_put("abc", p, 4, NULL));
	assert_false(ic_text_put("abcd", p, 4, NULL));
	assert_true(ic_text_put("a\xf0\x9f\x98\x80", p, 4, NULL));
	assert_false(ic_text_put("ab\xf0\x9f\x98\x80", p, 4, NULL));
}

/* --- Facts --- */

enum { SET = 1, DELETE = 2, ENUMERATE = 3, NO_MORE = -0x7ff8fefd };

static const uint8_t *
kvp(long len, uint8_t operation, uint8_t pool)
{
	uint8_t *p = fake_ic_payload(&x, IC_KVP);

	assert_int_equal(fake_ic_take(&x, IC_KVP), len);
	assert_int_equal(p[0], operation);
	assert_int_equal(p[1], pool);
	return p;
}

static void
put_item(uint32_t type, const char *key, const char *value)
{
	uint8_t *p = fake_ic_payload(&x, IC_KVP) + 8;
	size_t k, v;

	put_le32(p, type);
	assert_true(ic_text_put(key, p + 12, 256, &k));
	assert_true(ic_text_put(value, p + 12 + 512, 1024, &v));
	put_le32(p + 4, (uint32_t)k);
	put_le32(p + 8, (uint32_t)v);
}

/* A guest with these facts, each pool's end told by the status for that. */
static void
be_read(const char *os, const char *own)
{
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(get_le32(kvp(2580, ENUMERATE, KVP_INTRINSIC) + 4), i);
		if (i < 2)
			put_item(1, i ? "OSName" : "FullyQualifiedDomainName", i ? os : "g.example");
		fake_ic_answer(&x, IC_KVP, i < 2 ? 0 : (uint32_t)NO_MORE);
	}
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(get_le32(kvp(2580, ENUMERATE, KVP_GUEST) + 4), i);
		put_item(1, "own", own);
		fake_ic_answer(&x, IC_KVP, i < 1 ? 0 : (uint32_t)NO_MORE);
	}
}

static void
the_guests_facts_are_read(void **state)
{
	struct kvp_item item[4];
	size_t total;
	struct err e;

	(void)state;
	assert_true(fake_ic_start(&x, IC_KVP));
	be_read("Debian", "1");
	assert_int_equal(x.facts, 1);
	assert_int_equal(ic_kvp_list(x.s, KVP_INTRINSIC, 0, item, 4, &total), 2);
	assert_int_equal(total, 2);
	assert_string_equal(item[1].key, "OSName");
	assert_string_equal(item[1].value, "Debian");
	assert_int_equal(ic_kvp_list(x.s, KVP_INTRINSIC, 1, item, 4, &total), 1);
	assert_int_equal(ic_kvp_get(x.s, KVP_GUEST, "own", item, &e), 0);
	assert_string_equal(item[0].value, "1");
	assert_int_equal(ic_kvp_get(x.s, KVP_GUEST, "other", item, &e), -ENOENT);
	fake_ic_pass(&x, 10000); /* and once more, for addresses come late */
	be_read("Debian", "1");
	assert_int_equal(x.facts, 1);
	assert_int_equal(ic_kvp_refresh(x.s, NULL), 0);
	be_read("Debian", "2");
	assert_int_equal(x.facts, 2);
	assert_true(fake_ic_did_end(&x, IC_OP_FACTS, 0));
	fake_ic_close(&x, IC_KVP);
	assert_int_equal(ic_kvp_list(x.s, KVP_INTRINSIC, 0, item, 4, &total), 0);
	assert_int_equal(x.facts, 3);
	assert_null(x.loop->timers);
}

/* It is read a few times, and then nobody is woken. */
static void
reading_comes_to_rest(void **state)
{
	unsigned n = 0;

	(void)state;
	assert_true(fake_ic_start(&x, IC_KVP));
	for (unsigned i = 0; i < 100; i++) {
		if (fake_ic_take(&x, IC_KVP) > 0) {
			n++;
			fake_ic_answer(&x, IC_KVP, 0x80004005); /* no daemon */
		}
		fake_ic_pass(&x, 10000);
	}
	assert_int_equal(n, 6);
	assert_null(x.loop->timers);
	assert_int_equal(ic_kvp_refresh(x.s, NULL), 0);
	assert_true(fake_ic_take(&x, IC_KVP) > 0);
	fake_ic_answer(&x, IC_KVP, 0x80004005);
	assert_true(fake_ic_did_end(&x, IC_OP_FACTS, -EREMOTEIO));
}

static void
a_key_that_the_guest_does_not_know_is_left_out(void **state)
{
	struct kvp_item item[40];
	size_t total;

	(void)state;
	assert_true(fake_ic_start(&x, IC_KVP));
	for (uint32_t i = 0; i < 32; i++) {
		kvp(2580, ENUMERATE, KVP_INTRINSIC);
		put_item(i == 2 ? 4 : i == 4 ? 8 : i == 6 ? 11 : 1, "k", "v");
		fake_ic_answer(&x, IC_KVP, i % 2 ? 0x80004005 : 0);
	}
	kvp(2580, ENUMERATE, KVP_GUEST);
	assert_int_equal(ic_kvp_list(x.s, KVP_INTRINSIC, 0, item, 40, &total), 16);
	assert_string_equal(item[1].value, "118"); /* 'v', as a number */
	assert_string_equal(item[2].value, "118");
	assert_string_equal(item[3].value, "118");
}

static void
a_guest_has_so_many_facts_and_no_more(void **state)
{
	struct kvp_item item;
	size_t total;
	char key[16];

	(void)state;
	assert_true(fake_ic_start(&x, IC_KVP));
	kvp(2580, ENUMERATE, KVP_INTRINSIC);
	fake_ic_answer(&x, IC_KVP, (uint32_t)NO_MORE);
	for (unsigned i = 0; i < KVP_ITEMS; i++) {
		kvp(2580, ENUMERATE, KVP_GUEST);
		snprintf(key, sizeof(key), "k%u", i);
		put_item(1, key, "v");
		fake_ic_answer(&x, IC_KVP, 0);
	}
	assert_int_equal(fake_ic_take(&x, IC_KVP), -1);
	ic_kvp_list(x.s, KVP_GUEST, 0, &item, 1, &total);
	assert_int_equal(total, KVP_ITEMS);
}

static void
facts_that_lie_about_their_length_are_not_believed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fake_ic_start(&x, IC_KVP));
		kvp(2580, ENUMERATE, KVP_INTRINSIC);
		put_item(i == 2 ? 3 : 1, "k", "v");
		put_le32(fake_ic_payload(&x, IC_KVP) + 12 + 4 * i, i == 0 ? 513 : i == 1 ? 2049 : 0);
		fake_ic_answer(&x, IC_KVP, 0);
		assert_int_equal(x.s->kvp.c.state, IC_NEGOTIATING);
		fake_ic_close(&x, IC_KVP);
	}
}

static void
the_hosts_facts_are_told_when_the_guest_listens(void **state)
{
	const uint8_t *p;
	struct kvp_item item;
	bool changed;
	struct err e;

	(void)state;
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "HostName", "h", &changed, &e), 0);
	assert_true(changed);
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "HostName", "h", &changed, &e), 0);
	assert_false(changed);
	assert_true(fake_ic_start(&x, IC_KVP));
	p = kvp(2576, SET, KVP_HOST);
	assert_int_equal(get_le32(p + 4), 1);
	assert_int_equal(get_le32(p + 8), 18);
	assert_int_equal(get_le32(p + 12), 4);
	assert_int_equal(p[16], 'H');
	assert_int_equal(p[16 + 512], 'h');
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "HostName", "i", &changed, &e), -EBUSY);
	fake_ic_answer(&x, IC_KVP, 0);
	assert_int_equal(ic_kvp_get(x.s, KVP_HOST, "HostName", &item, &e), 0);
	assert_true(item.told);
	be_read("Debian", "1");
	assert_int_equal(ic_kvp_delete(x.s, KVP_HOST, "HostName", &changed, &e), 0);
	assert_true(changed);
	p = kvp(520, DELETE, KVP_HOST);
	assert_int_equal(get_le32(p + 4), 18);
	fake_ic_answer(&x, IC_KVP, 0);
	assert_int_equal(ic_kvp_get(x.s, KVP_HOST, "HostName", &item, &e), -ENOENT);
	assert_int_equal(ic_kvp_delete(x.s, KVP_HOST, "HostName", &changed, &e), 0);
	assert_false(changed);
	assert_int_equal(fake_ic_take(&x, IC_KVP), -1);
}

static void
what_the_guest_refuses_is_told_again_when_it_listens_anew(void **state)
{
	struct kvp_item item;
	bool changed;

	(void)state;
	assert_int_equal(ic_kvp_set(x.s, KVP_EXTERNAL, "k", "v", &changed, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fake_ic_start(&x, IC_KVP));
		kvp(2576, SET, KVP_EXTERNAL);
		fake_ic_answer(&x, IC_KVP, 0x80004005);
		kvp(2580, ENUMERATE, KVP_INTRINSIC);
		assert_int_equal(ic_kvp_get(x.s, KVP_EXTERNAL, "k", &item, NULL), 0);
		assert_false(item.told);
		fake_ic_close(&x, IC_KVP);
	}
}

static void
the_hosts_pools_have_rules(void **state)
{
	char long_key[300], key[16];
	bool changed;
	struct err e;

	(void)state;
	memset(long_key, 'k', sizeof(long_key));
	long_key[256] = '\0';
	assert_int_equal(ic_kvp_set(x.s, KVP_GUEST, "k", "v", &changed, &e), -EINVAL);
	assert_int_equal(ic_kvp_delete(x.s, KVP_INTRINSIC, "k", &changed, &e), -EINVAL);
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "", "v", &changed, &e), -EINVAL);
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, long_key, "v", &changed, &e), -EINVAL);
	long_key[255] = '\0';
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, long_key, "v", &changed, &e), 0);
	for (unsigned i = 1; i < KVP_ITEMS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(ic_kvp_set(x.s, KVP_HOST, key, "v", &changed, &e), 0);
	}
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "more", "v", &changed, &e), -ENOSPC);
	assert_int_equal(ic_kvp_delete(x.s, KVP_HOST, long_key, &changed, &e), 0);
	assert_int_equal(ic_kvp_set(x.s, KVP_HOST, "more", "v", &changed, &e), 0);
}

/* --- Addresses --- */

static void
addresses_are_asked_for_and_set(void **state)
{
	struct ic_ip ip = { .adapter = "00:15:5d:00:00:01" }, out;
	uint8_t *p = fake_ic_payload(&x, IC_KVP);

	(void)state;
	assert_true(fake_ic_start(&x, IC_KVP));
	be_read("Debian", "1");
	assert_int_equal(ic_ip_get(x.s, &ip, NULL), 0);
	assert_int_equal(ic_ip_get(x.s, &ip, NULL), -EBUSY);
	assert_int_equal(fake_ic_take(&x, IC_KVP), 7428);
	assert_int_equal(p[0], 4);
	assert_int_equal(p[2], '0');
	assert_int_equal(p[258], 1);
	p[259] = 1;
	ic_text_put("192.0.2.5;192.0.2.6", p + 260, 1024, NULL);
	ic_text_put("255.255.255.0", p + 2308, 1024, NULL);
	ic_text_put("192.0.2.1", p + 4356, 512, NULL);
	ic_text_put("192.0.2.53", p + 5380, 1024, NULL);
	fake_ic_answer(&x, IC_KVP, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_IP_GET, 0));
	ic_ip_result(x.s, &out);
	assert_true(out.dhcp);
	assert_string_equal(out.address, "192.0.2.5;192.0.2.6");
	assert_string_equal(out.mask, "255.255.255.0");
	assert_string_equal(out.gateway, "192.0.2.1");
	assert_string_equal(out.dns, "192.0.2.53");
	out.family = 1;
	assert_int_equal(ic_ip_set(x.s, &out, NULL), 0);
	assert_int_equal(fake_ic_take(&x, IC_KVP), 7428);
	assert_int_equal(p[0], 5);
	assert_int_equal(p[258], 2);
	assert_int_equal(p[260], '1');
	fake_ic_answer(&x, IC_KVP, 0x80041002);
	assert_true(fake_ic_did_end(&x, IC_OP_IP_SET, -EREMOTEIO));
	assert_int_equal(ic_ip_set(x.s, &out, NULL), 0);
	fake_ic_close(&x, IC_KVP);
	assert_true(
	    fake_ic_did_end(&x, IC_OP_IP_SET, -ENOTCONN) || fake_ic_did_end(&x, IC_OP_FACTS, -ENOTCONN));
}

/* --- Files --- */

enum { START = 0, WRITE = 1, COMPLETE = 2, CANCEL = 3, PIECE = 6144 };

static int
source(size_t size)
{
	int fd = memfd_create("source", MFD_CLOEXEC);

	for (size_t i = 0; i < size; i++) {
		uint8_t b = (uint8_t)(i * 7 + i / PIECE);

		assert_int_equal(pwrite(fd, &b, 1, (off_t)i), 1);
	}
	return fd;
}

static void
copy(size_t size)
{
	const struct ic_copy c = {
		.fd = source(size), .name = "file", .path = "/tmp/x", .overwrite = true, .make_path = true
	};

	assert_int_equal(ic_copy(x.s, &c, NULL), 0);
}

static const uint8_t *
fcopy(uint32_t operation)
{
	static const long lengths[] = { [START] = 1088, [WRITE] = 6196, [COMPLETE] = 36, [CANCEL] = 36 };
	const uint8_t *p = fake_ic_payload(&x, IC_FCOPY);

	assert_int_equal(fake_ic_take(&x, IC_FCOPY), lengths[operation]);
	assert_int_equal(get_le32(p), operation);
	return p;
}

static void
a_file_arrives_piece_by_piece(void **state)
{
	static const size_t sizes[] = { 0, 1, PIECE - 1, PIECE, PIECE + 1, 100000 };

	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	for (unsigned i = 0; i < 6; i++) {
		const uint8_t *p;

		copy(sizes[i]);
		p = fcopy(START);
		assert_int_equal(p[36], 'f');
		assert_int_equal(p[36 + 520], '/');
		assert_int_equal(get_le32(p + 36 + 1040), 3);
		assert_int_equal(get_le64(p + 36 + 1044), sizes[i]);
		fake_ic_answer(&x, IC_FCOPY, 0);
		for (size_t at = 0; at < sizes[i]; at += PIECE) {
			size_t n = sizes[i] - at < PIECE ? sizes[i] - at : PIECE;

			p = fcopy(WRITE);
			assert_int_equal(get_le64(p + 40), at);
			assert_int_equal(get_le32(p + 48), n);
			for (size_t b = 0; b < n; b++)
				assert_int_equal(p[52 + b], (uint8_t)((at + b) * 7 + at / PIECE));
			fake_ic_answer(&x, IC_FCOPY, 0);
			assert_int_equal(x.done, at + n);
		}
		fcopy(COMPLETE);
		assert_int_equal(x.ends, i);
		fake_ic_answer(&x, IC_FCOPY, 0);
		assert_int_equal(x.ends, i + 1);
		assert_true(fake_ic_did_end(&x, IC_OP_COPY, 0));
		assert_int_equal(x.s->fcopy.fd, -1);
		assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1);
	}
	assert_int_equal(x.total, 100000);
}

static void
a_file_that_exists_is_left_as_it_is(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	copy(10);
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0x80070050);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -EREMOTEIO));
	assert_int_equal(x.end[0].status, 0x80070050);
	assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1); /* it is not ours to cancel */
}

static void
a_file_that_exists_is_not_removed_by_a_cancel(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	copy(10);
	fcopy(START);
	assert_int_equal(ic_copy_cancel(x.s, NULL), 0);
	fake_ic_answer(&x, IC_FCOPY, 0x80070050);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -EREMOTEIO));
	assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1);
	copy(10); /* nor does it end the next */
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fcopy(WRITE);
}

/* Restored with half a file in the guest, and asked for another one before it goes on. */
static void
what_is_left_of_a_copy_goes_before_the_next(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	ics_hold(x.s);
	x.s->fcopy.cancel_due = true;
	copy(10);
	ics_go(x.s);
	fcopy(CANCEL);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fcopy(WRITE);
}

static void
a_full_disk_ends_a_copy_and_its_part_goes(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	copy(10000);
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fcopy(WRITE);
	fake_ic_answer(&x, IC_FCOPY, 0x80070070);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -EREMOTEIO));
	fcopy(CANCEL);
	fake_ic_answer(&x, IC_FCOPY, 0);
	assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1);
}

static void
a_copy_is_cancelled_at_any_time(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	for (unsigned after = 0; after < 3; after++) {
		copy(10000);
		fcopy(START);
		for (unsigned i = 0; i < after; i++) {
			fake_ic_answer(&x, IC_FCOPY, 0);
			fcopy(WRITE);
		}
		assert_int_equal(ic_copy_cancel(x.s, NULL), 0);
		fake_ic_answer(&x, IC_FCOPY, 0);
		assert_true(fake_ic_did_end(&x, IC_OP_COPY, -ECANCELED));
		fcopy(CANCEL);
		copy(10); /* waits until that is answered */
		assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1);
		x.c[IC_FCOPY].len = IC_HEAD + 36;
		put_le32(x.c[IC_FCOPY].message, 1);
		put_le32(x.c[IC_FCOPY].message + 4, 20 + 36);
		put_le16(x.c[IC_FCOPY].message + IC_PIPE + 4, 7);
		x.c[IC_FCOPY].message[IC_PIPE + 16] = x.s->fcopy.c.transaction;
		fake_ic_answer(&x, IC_FCOPY, 0);
		fcopy(START);
		fake_ic_answer(&x, IC_FCOPY, 0x80004005);
	}
}

static void
a_source_that_shrinks_ends_a_copy(void **state)
{
	struct ic_copy c = { .fd = source(10000), .name = "n", .path = "p" };
	int same = dup(c.fd);

	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	assert_int_equal(ic_copy(x.s, &c, NULL), 0);
	fcopy(START);
	assert_int_equal(ftruncate(same, 100), 0);
	fake_ic_answer(&x, IC_FCOPY, 0);
	assert_int_equal(get_le32(fcopy(WRITE) + 48), 100);
	fake_ic_answer(&x, IC_FCOPY, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -EIO));
	fcopy(CANCEL);
	close(same);
}

static void
a_guest_that_goes_ends_a_copy(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	copy(10000);
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fake_ic_close(&x, IC_FCOPY);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -ENOTCONN));
	assert_true(fake_ic_start(&x, IC_FCOPY));
	assert_int_equal(fake_ic_take(&x, IC_FCOPY), -1);
	copy(10);
	fcopy(START);
}

static void
a_guest_that_is_late_is_told_to_forget_its_part(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	copy(10000);
	fcopy(START);
	fake_ic_answer(&x, IC_FCOPY, 0);
	fcopy(WRITE);
	fake_ic_pass(&x, 60001);
	assert_true(fake_ic_did_end(&x, IC_OP_COPY, -ETIMEDOUT));
	assert_true(fake_ic_negotiate(&x, IC_FCOPY));
	fcopy(CANCEL);
}

static void
what_is_no_file_is_not_copied(void **state)
{
	struct ic_copy c = { .fd = eventfd(0, 0), .name = "n", .path = "p" };
	struct err e;

	(void)state;
	assert_true(fake_ic_start(&x, IC_FCOPY));
	assert_int_equal(ic_copy(x.s, &c, &e), -EINVAL);
	c.fd = source(1);
	c.name[0] = '\0';
	assert_int_equal(ic_copy(x.s, &c, &e), -EINVAL);
	copy(1);
	c.fd = source(1);
	c.name[0] = 'n';
	assert_int_equal(ic_copy(x.s, &c, &e), -EBUSY);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf16_becomes_clean_utf8),
		cmocka_unit_test(utf8_becomes_utf16_if_it_fits),
		TEST(the_guests_facts_are_read),
		TEST(reading_comes_to_rest),
		TEST(a_key_that_the_guest_does_not_know_is_left_out),
		TEST(a_guest_has_so_many_facts_and_no_more),
		TEST(facts_that_lie_about_their_length_are_not_believed),
		TEST(the_hosts_facts_are_told_when_the_guest_listens),
		TEST(what_the_guest_refuses_is_told_again_when_it_listens_anew),
		TEST(the_hosts_pools_have_rules),
		TEST(addresses_are_asked_for_and_set),
		TEST(a_file_arrives_piece_by_piece),
		TEST(a_file_that_exists_is_left_as_it_is),
		TEST(a_file_that_exists_is_not_removed_by_a_cancel),
		TEST(what_is_left_of_a_copy_goes_before_the_next),
		TEST(a_full_disk_ends_a_copy_and_its_part_goes),
		TEST(a_copy_is_cancelled_at_any_time),
		TEST(a_source_that_shrinks_ends_a_copy),
		TEST(a_guest_that_goes_ends_a_copy),
		TEST(a_guest_that_is_late_is_told_to_forget_its_part),
		TEST(what_is_no_file_is_not_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
