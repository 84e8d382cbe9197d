/*
 * sconfig/form.h - a page being filled in: values, what is wrong with them, what would change, applying,
 * reading back. It draws nothing: the full screen (view_form.c) and the prompts (prompts.c) both stand
 * on it. One thread; calls block for as long as the agent needs.
 */
#ifndef SCONFIG_FORM_H
#define SCONFIG_FORM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "sconfig/link.h"
#include "sconfig/page.h"

enum { VALUE_SIZE = 512, REASON_SIZE = 640 };

struct choice {
	char value[VALUE_SIZE], label[96];
};

struct form;

/* Loads the page, for the object called subject if the page has such ("" if not). The form is made even if
 * loading fails; form_trouble then says why. NULL only when memory is out. */
struct form *form_new(const struct page *page, struct link *link, const char *subject);
/* The same for a part of the subject: what names it (an object, taken; NULL: none) is sent with every call.
 */
struct form *form_new_part(const struct page *page, struct link *link, const char *subject, json_t *part);
void form_free(struct form *f);
/* Loads again. What the user has changed stays, if keep. 0, or negative with form_trouble. */
int form_load(struct form *f, bool keep);

const struct page *form_page(const struct form *f);
const char *form_subject(const struct form *f);
/* What is wrong with the page as a whole, one sentence (and perhaps a hint); "" if nothing. */
const char *form_trouble(const struct form *f);

size_t form_count(const struct form *f);
const struct item *form_item(const struct form *f, size_t i);
/* Whether item i counts now: its `when` and `unless`. */
bool form_shown(const struct form *f, size_t i);
bool form_editable(const struct form *f, size_t i);
/* The value as typed or loaded, and as it reads. */
const char *form_value(const struct form *f, size_t i);
void form_read(const struct form *f, size_t i, char *out, size_t size);
const char *form_value_of(const struct form *f, const char *member);
bool form_changed(const struct form *f, size_t i);
bool form_any_changed(const struct form *f);
/* Sets it; the error at the field is gone. Changing an ITEM_KEY reads the others from the document anew. */
void form_set(struct form *f, size_t i, const char *text);
/* What is wrong at item i; "" if nothing is known. */
const char *form_error(const struct form *f, size_t i);

/* The choices of an ITEM_CHOICE or ITEM_BOOL; asks the agent the first time. *n is 0 when there are none. */
const struct choice *form_choices(struct form *f, size_t i, size_t *n);

/* Checks item i; false, with its error, if it will not do. */
bool form_check_item(struct form *f, size_t i);
/* Checks what is shown: index of the first item with an error, or -1. */
int form_check(struct form *f);
/* What would be sent (new reference), without "_". */
json_t *form_params(const struct form *f);
/* What will be, one line an item ("Computer name: old -> new") and then the host's own words; to be freed. */
char *form_summary(const struct form *f);
/* Asks the agent whether it would do it: 0, or negative with the error at its field (*at, or -1). */
int form_preview(struct form *f, int *at);
/*
 * Does it, and reads back. 0: *said tells what is so now (to be freed). Negative: as form_preview. *job is
 * the id of the job that does the rest (to be freed), or NULL.
 */
int form_apply(struct form *f, int *at, char **said, char **job);
/* The Lua line that does the same, with the values typed in; to be freed. */
char *form_lua(const struct form *f);

/* The part of doc that path (page.h, struct item) names; borrowed, NULL if there is none. */
json_t *form_find(const struct form *f, const json_t *doc, const char *path);
/* method{a="x", b=2}, or with a subject method("web1", {b=2}); confirm is said as the shell wants it. To be
 * freed. */
char *lua_call(const char *method, const char *subject, const json_t *params, bool confirm);

#endif
