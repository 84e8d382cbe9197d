/*
 * tests/unit/worker_memory_test.c - a worker's dynamic memory: what its document may say, what its controller
 * can ask and is told, and a guest's driver that works blind: what the host says on the bus goes to a message
 * page that is not there.
 */
#include "hypervisor/vsp/balloon_private.h"
#include "hypervisor/worker/memory_requests.h"
#include "tests/unit/worker_guest.h"

enum { DATA_PAGE = 5000, RELID = 1 };

#define MACHINE \
	DOCUMENT("\"SizeInMB\":64,\"MinimumSizeInMB\":32,\"MaximumSizeInMB\":320,\"Dynamic\":true", "")

static struct fake_channel channel;

static void
begin(void)
{
	assert_says(create(MACHINE), DONE);
	assert_true(good("start", "{}", -1));
}

static void
say(uint16_t type, uint16_t size, const void *body)
{
	uint8_t m[64] = { 0 };

	put_le16(m, type);
	put_le16(m + 2, size);
	memcpy(m + 8, body, size - 8u);
	assert_true(fake_send(&channel, PACKET_INBAND, 0, 0, NULL, 0, m, size));
	kick(RELID);
}

static void
hear(uint16_t type, uint8_t *m)
{
	await_packet(&channel, m, BALLOON_MESSAGE);
	assert_int_equal(get_le16(m), type);
}

static void
agree(void)
{
	const uint32_t version[2] = { BALLOON_2_0 };
	const uint64_t can[3] = { 3 | 7 << 2, 0, UINT64_MAX };
	uint8_t m[BALLOON_MESSAGE];

	connect_guest();
	channel = open_rings(RELID);
	say(SAYS_VERSION, 16, version);
	hear(TELLS_VERSION, m);
	say(SAYS_CAPABILITIES, 32, can);
	hear(TELLS_CAPABILITIES, m);
	hear(TELLS_INFO, m);
}

static void
await_assigned(uint64_t bytes)
{
	for (int i = 0; memory_assigned(&f.w) != bytes; i++) {
		assert_in_range(i, 0, 3000);
		turn();
	}
}

/* --- tests --------------------------------------------------------------------------------------------- */

static void
the_document_is_checked(void **state)
{
	static const struct {
		const char *memory, *why;
	} rows[] = {
		{ "\"SizeInMB\":64,\"MinimumSizeInMB\":65", "Memory.MinimumSizeInMB: 65 is not between 32" },
		{ "\"SizeInMB\":64,\"MinimumSizeInMB\":31", "Memory.MinimumSizeInMB: 31 is not between 32" },
		{ "\"SizeInMB\":64,\"Dynamic\":true,\"BackingPageSize\":\"Large\"",
		    "Memory.Dynamic: memory in Large" },
		{ "\"SizeInMB\":64,\"Dynamic\":1", "Dynamic" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[600];

		snprintf(text, sizeof(text), DOCUMENT("%s", ""), rows[i].memory);
		assert_says(create(text), rows[i].why);
	}
}

static void
a_machine_without_it_says_so(void **state)
{
	(void)state;
	assert_says(ask("memory.status", "{}", -1), "no machine");
	assert_says(ask("memory.target", "{\"SizeInBytes\":1}", -1), "no machine");
	assert_says(create(DOCUMENT("\"SizeInMB\":64", "")), DONE);
	assert_null(f.w.services); /* and no thread */
	assert_says(ask("memory.target", "{\"SizeInBytes\":67108864}", -1), "Memory.Dynamic");
	assert_says(ask("memory.status", "{}", -1), "\"AssignedInBytes\":67108864");
}

static void
the_target_has_bounds(void **state)
{
	(void)state;
	begin();
	assert_says(ask("memory.target", "{\"SizeInBytes\":33554431}", -1), "32 to 320 MiB");
	assert_says(ask("memory.target", "{\"SizeInBytes\":335544321}", -1), "32 to 320 MiB");
	assert_true(good("memory.target", "{\"SizeInBytes\":33554432}", -1));
	assert_says(ask("memory.status", "{}", -1), "\"TargetInBytes\":33554432");
	assert_true(heard("\"State\":\"NoDriver\""));
	assert_true(heard("\"Dynamic\":true"));
}

static void
pages_go_and_their_controller_hears_of_it(void **state)
{
	uint64_t body[2] = { 0, DATA_PAGE | 4096ull << 40 };
	uint8_t m[BALLOON_MESSAGE];

	(void)state;
	begin();
	agree();
	assert_true(good("memory.target", "{\"SizeInBytes\":50331648}", -1));
	hear(ASKS_BALLOON, m);
	assert_int_equal(get_le32(m + 8), 4096);
	memset(gmem_span(guest.mem, DATA_PAGE * GMEM_PAGE, GMEM_PAGE), 0xee, GMEM_PAGE);
	put_le32((uint8_t *)body + 4, 1 << 1);
	say(SAYS_BALLOON, 24, body);
	await_assigned(48 << 20);
	while (fake_told(&f)[0] && !heard("\"AssignedInBytes\":50331648"))
		;
	assert_true(heard("\"memory\""));
	assert_int_equal(*(uint8_t *)gmem_span(guest.mem, DATA_PAGE * GMEM_PAGE, 1), 0);
	assert_says(ask("statistics", "{}", -1), "\"MemoryInMB\":48,");
	assert_says(ask("memory.status", "{}", -1), "\"State\":\"Ready\"");
}

static void
memory_is_added_in_the_guests_units_and_the_next_guest_gets_it_again(void **state)
{
	const uint32_t answer[2] = { 32768, 1 };
	uint8_t m[BALLOON_MESSAGE];

	(void)state;
	begin();
	for (int i = 0; i < 2; i++) {
		agree();
		assert_true(good("memory.target", "{\"SizeInBytes\":201326592}", -1));
		hear(ASKS_HOT_ADD, m);
		assert_int_equal(get_le64(m + 8), 1 << 20 | 32768ull << 40);
		say(SAYS_HOT_ADD, 16, answer);
		await_assigned(192 << 20);
		assert_true(good("reset", "{}", -1));
		assert_int_equal(memory_assigned(&f.w), 64 << 20);
		assert_int_equal(gmem_regions(f.w.p->mem), 2);
	}
}

static void
it_is_left_alone_while_the_machine_is_saved(void **state)
{
	uint8_t m[BALLOON_MESSAGE];
	struct packet_head h;
	int stream = memfd_create("state", MFD_CLOEXEC);

	(void)state;
	begin();
	agree();
	assert_true(good("save", "{\"Stream\":0}", stream));
	assert_true(good("memory.target", "{\"SizeInBytes\":33554432}", -1));
	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(fake_recv(&channel, &h, m, sizeof(m)), -1);
	assert_true(good("power_off", "{}", -1));
	assert_true(good("start", "{}", -1));
	agree(); /* and there it works */
	hear(ASKS_BALLOON, m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(the_document_is_checked),
		unit(a_machine_without_it_says_so),
		unit(the_target_has_bounds),
		unit(pages_go_and_their_controller_hears_of_it),
		unit(memory_is_added_in_the_guests_units_and_the_next_guest_gets_it_again),
		unit(it_is_left_alone_while_the_machine_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
