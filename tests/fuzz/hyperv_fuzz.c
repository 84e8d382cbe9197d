/*
 * tests/fuzz/hyperv_fuzz.c - the input is what a guest does to the crash MSRs and as hypercalls: a byte for
 * the kind, then eight for each value. What it leaves as its last words is printable text.
 */
#include <string.h>

#include "hypervisor/core/hyperv.h"
#include "tests/fuzz/fuzz.h"

enum { RAM = 0x20000 };
static struct gmem *mem;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t *ram;

	(void)argc;
	(void)argv;
	must(gmem_new(&mem, RAM, false, NULL) == 0);
	must(gmem_add(mem, 0, RAM / 2, NULL, NULL) == 0);
	must(gmem_add(mem, RAM / 2, RAM / 2, NULL, NULL) == 0);
	ram = gmem_span(mem, 0, RAM / 2);
	for (size_t i = 0; i < RAM / 2; i++)
		ram[i] = (uint8_t)i;
	return 0;
}

static uint64_t
take64(const uint8_t **p, size_t *n)
{
	uint64_t v = 0;
	size_t part = *n < sizeof(v) ? *n : sizeof(v);

	memcpy(&v, *p, part);
	*p += part;
	*n -= part;
	return v;
}

static void
check_text(const char *text)
{
	size_t len = strnlen(text, HV_CRASH_TEXT + 1);

	must(len <= HV_CRASH_TEXT);
	for (size_t i = 0; i < len; i++)
		must(text[i] == '\n' || text[i] == '\t' || (text[i] >= ' ' && text[i] <= '~'));
}

static void
write_msr(struct hv_crash *c, uint32_t msr, uint64_t value, char *text)
{
	uint64_t back;
	int rc;

	memset(text, 0x7f, HV_CRASH_TEXT + 1);
	rc = hv_crash_write(c, msr, value, mem, text);
	must((rc >= 0) == hv_crash_read(c, msr, &back));
	if (rc == 1)
		check_text(text);
	else
		must(text[0] == 0x7f);
	must(rc != 0 || msr == HV_CRASH_CTL || back == value);
}

/* Every byte of a message is ours to read. */
static uint16_t
take_message(void *ctx, uint32_t connection, uint32_t type, const void *payload, size_t len)
{
	uint8_t copy[240];

	(void)ctx;
	(void)connection;
	(void)type;
	must(len <= sizeof(copy));
	memcpy(copy, payload, len);
	return HV_SUCCESS;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[HV_CRASH_TEXT + 1];
	struct hv_crash c = { 0 };

	while (size > 1) {
		uint8_t kind = *data;

		data++;
		size--;
		if (kind & 0x80) {
			uint64_t input = take64(&data, &size), param = take64(&data, &size);
			static const struct hv_mail mail = { .post = take_message };
			uint64_t r = hyperv_hypercall(input, param, 0, mem, &mail);

			must(r == HV_INVALID_HYPERCALL_CODE || r == HV_INVALID_ALIGNMENT ||
			     r == HV_INVALID_CONNECTION_ID || r == HV_INVALID_PARAMETER || r == HV_SUCCESS);
		} else {
			write_msr(&c, HV_CRASH_P0 - 1 + kind % 8, take64(&data, &size), text);
		}
	}
	return 0;
}
