/*
 * lib/schema_text.c - text to document. What could hurt the parser is refused before it sees it.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/schema.h"

/*
 * Whether brackets nest deeper than allowed: the parser recurses, and its own limit is sized for a
 * main thread's stack. In text that is not JSON the answer may be wrong, but never too low for what
 * the parser reads before it gives up.
 */
static bool
too_deep(const char *text, size_t len)
{
	bool quoted = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '[' || text[i] == '{') && ++depth > SCHEMA_DEPTH_MAX)
			return true;
		else if (!quoted && (text[i] == ']' || text[i] == '}'))
			depth--;
	}
	return false;
}

json_t *
schema_parse(const char *text, size_t len, struct err *e)
{
	json_error_t why;
	json_t *doc;

	if (len > SCHEMA_TEXT_MAX) {
		err_set(e, EINVAL, "longer than %d bytes", SCHEMA_TEXT_MAX);
		return NULL;
	}
	if (memchr(text, '\0', len)) {
		err_set(e, EINVAL, "holds a NUL byte");
		return NULL;
	}
	if (too_deep(text, len)) {
		err_set(e, EINVAL, "nested deeper than %d levels", SCHEMA_DEPTH_MAX);
		return NULL;
	}
	doc = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!doc && why.text[0] == '\0') /* the parser has words for everything else */
		err_set(e, ENOMEM, "out of memory");
	else if (!doc)
		err_set(e, EINVAL, "line %d, column %d: %s", why.line, why.column, why.text);
	return doc;
}
