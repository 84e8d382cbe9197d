/*
 * tests/unit/err_test.c - what a caller may rely on when something failed: the code, whole words, and a
 * sentence that is fit for a terminal; lib/text.c with it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/err.h"
#include "lib/text.h"

static void
a_failure_has_its_code_and_its_sentence(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, EINVAL, "disk %d: %s", 3, "cut short"), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	assert_string_equal(e.msg, "disk 3: cut short");
}

static void
a_system_error_ends_with_its_words(void **state)
{
	struct err e = { 0 };

	(void)state;
	errno = ENOENT;
	assert_int_equal(err_sys(&e, "open %s", "a.img"), -ENOENT);
	assert_int_equal(e.code, ENOENT);
	assert_string_equal(e.msg, "open a.img: No such file or directory");
}

static void
a_system_error_without_errno_is_still_a_failure(void **state)
{
	struct err e = { 0 };

	(void)state;
	errno = 0;
	assert_int_equal(err_sys(&e, "open"), -EIO);
	assert_int_equal(e.code, EIO);
}

static void
a_prefix_goes_before_the_sentence(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EPERM, "locked");
	assert_int_equal(err_wrap(&e, -EPERM, "start %s", "web1"), -EPERM);
	assert_int_equal(e.code, EPERM);
	assert_string_equal(e.msg, "start web1: locked");
}

static void
a_prefix_before_nothing_brings_the_words_of_the_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_wrap(&e, -ENOENT, "kernel"), -ENOENT);
	assert_int_equal(e.code, ENOENT);
	assert_string_equal(e.msg, "kernel: No such file or directory");
}

static void
nobody_has_to_want_the_sentence(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
	errno = EACCES;
	assert_int_equal(err_sys(NULL, "x"), -EACCES);
}

static void
the_old_sentence_may_be_an_argument_of_the_new_one(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EIO, "old");
	err_set(&e, EIO, "new (%s)", e.msg);
	assert_string_equal(e.msg, "new (old)");
}

static void
a_long_sentence_is_cut_and_terminated(void **state)
{
	struct err e;
	char much[1000];

	(void)state;
	memset(&e, 'x', sizeof(e));
	memset(much, 'a', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	err_set(&e, EIO, "%s", much);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, -EIO, "%s", much);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void
a_long_prefix_leaves_the_words_of_the_system_whole(void **state)
{
	struct err e = { 0 };
	char much[1000];
	const char *words = "a: No such file or directory";

	(void)state;
	memset(much, 'a', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	errno = ENOENT;
	err_sys(&e, "%s", much);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_string_equal(e.msg + strlen(e.msg) - strlen(words), words);
}

static void
a_short_prefix_is_whole_before_a_long_sentence(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EIO, "%0200d", 7);
	err_wrap(&e, -EIO, "%0100d", 8);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_int_equal(strspn(e.msg, "0"), 99);
	assert_memory_equal(e.msg + 99, "8: 000", 6);
}

static void
a_stranger_cannot_write_control_characters_into_a_sentence(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EINVAL, "name '%s'", "a\x1b[2J\nb\x7f");
	assert_string_equal(e.msg, "name 'a?[2J?b?'");
}

static void
a_character_cut_in_half_does_not_stay(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EINVAL, "%0238d\xc3\xa9", 0);
	assert_int_equal(e.msg[238], '?');
	assert_true(text_is_clean(e.msg, strlen(e.msg)));
}

static void
text_in_any_language_is_clean(void **state)
{
	const char *texts[] = { "", "plain ~", "\xc2\xa0", "\xc3\xa9t\xc3\xa9", "\xe4\xb8\xad\xe6\x96\x87",
		"\xf0\x9f\x90\xa7", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_true(text_is_clean(texts[i], strlen(texts[i])));
}

static void
malformed_or_controlling_text_is_not_clean_and_becomes_so(void **state)
{
	const char *texts[] = {
		"\n", "\x1f", "\x7f",                                               /* C0, DEL */
		"\xc2\x80", "\xc2\x9f",                                             /* C1 */
		"\x80", "\xbf", "\xff",                                             /* no lead byte */
		"\xc0\xaf", "\xc1\xbf",                                             /* longer than needed */
		"\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", /* surrogates */
		"\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xc3", "\xe4\xb8",
		"\xf0\x9f\x90", "\xe4x\xad", /* cut short */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char s[8] = { 0 };

		strncpy(s, texts[i], sizeof(s) - 1);
		assert_false(text_is_clean(s, strlen(s)));
		text_clean(s);
		assert_true(text_is_clean(s, strlen(s)));
		assert_int_equal(strlen(s), strlen(texts[i]));
	}
}

static void
an_embedded_nul_is_not_clean(void **state)
{
	(void)state;
	assert_false(text_is_clean("a\0b", 3));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_has_its_code_and_its_sentence),
		cmocka_unit_test(a_system_error_ends_with_its_words),
		cmocka_unit_test(a_system_error_without_errno_is_still_a_failure),
		cmocka_unit_test(a_prefix_goes_before_the_sentence),
		cmocka_unit_test(a_prefix_before_nothing_brings_the_words_of_the_code),
		cmocka_unit_test(nobody_has_to_want_the_sentence),
		cmocka_unit_test(the_old_sentence_may_be_an_argument_of_the_new_one),
		cmocka_unit_test(a_long_sentence_is_cut_and_terminated),
		cmocka_unit_test(a_long_prefix_leaves_the_words_of_the_system_whole),
		cmocka_unit_test(a_short_prefix_is_whole_before_a_long_sentence),
		cmocka_unit_test(a_stranger_cannot_write_control_characters_into_a_sentence),
		cmocka_unit_test(a_character_cut_in_half_does_not_stay),
		cmocka_unit_test(text_in_any_language_is_clean),
		cmocka_unit_test(malformed_or_controlling_text_is_not_clean_and_becomes_so),
		cmocka_unit_test(an_embedded_nul_is_not_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
