/*
 * tests/fuzz/schema_fuzz.c - the input is a document. Whatever it is, nothing breaks; if it reads, it
 * can be written, and what was written reads as the same.
 */
#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/schema_table.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1); /* an input takes the same path every time */
	return 0;
}

static void
start(struct fuzzed *f)
{
	memset(f, 0, sizeof(*f));
	schema_no_fds(fuzzed_fields, f);
}

static void
write_and_read_again(const struct fuzzed *f)
{
	json_t *doc = schema_write(fuzzed_fields, f), *again_doc;
	static struct fuzzed again;
	struct err e = { 0 };

	must(doc);
	start(&again);
	/* The least u is 3, which an absent one (0) is below: only then is what was written refused. */
	if (schema_read(fuzzed_fields, doc, NULL, &again, &e) == 0) {
		again_doc = schema_write(fuzzed_fields, &again);
		must(json_equal(doc, again_doc));
		json_decref(again_doc);
	} else {
		must(strstr(e.msg, "u: 0 is not between"));
	}
	json_decref(doc);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzzed f;
	struct err e = { 0 };
	json_t *doc = schema_parse((const char *)data, size, &e);

	if (doc) {
		start(&f);
		if (schema_read(fuzzed_fields, doc, NULL, &f, &e) == 0)
			write_and_read_again(&f);
		json_decref(doc);
	}
	must(!e.code || e.msg[0]);
	must(text_is_clean(e.msg, strlen(e.msg)));
	return 0;
}
