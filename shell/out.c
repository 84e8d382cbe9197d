/*
 * shell/out.c - what goes to the terminal.
 */
#include "shell/out.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "lib/text.h"

void
out_clean(FILE *f, const char *s, bool lines)
{
	char *copy = strdup(s), *part = copy, *nl;

	while (part) {
		nl = lines ? strchr(part, '\n') : NULL;
		if (nl)
			*nl = '\0';
		text_clean(part);
		fputs(part, f);
		if (nl)
			fputc('\n', f);
		part = nl ? nl + 1 : NULL;
	}
	free(copy);
}

/* The bytes of the UTF-8 character at s, whatever the locale: a lead byte and what continues it. */
static size_t
char_bytes(const char *s)
{
	size_t n = 1;

	while (((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* The columns of the character at s, and its bytes in *n. In a locale that knows no UTF-8 each counts as one.
 */
static size_t
char_width(const char *s, size_t *n)
{
	mbstate_t state = { 0 };
	wchar_t c;
	int w;

	*n = char_bytes(s);
	if (mbrtowc(&c, s, *n, &state) != *n)
		return 1;
	w = wcwidth(c);
	return w < 0 ? 1 : (size_t)w;
}

size_t
out_width(const char *s)
{
	size_t columns = 0, n;

	for (; *s; s += n)
		columns += char_width(s, &n);
	return columns;
}

char *
out_cut(const char *s, size_t width)
{
	const char *mark = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "\xe2\x80\xa6" : "~";
	size_t columns = 0, n = 0, at = 0;
	char *out;

	if (out_width(s) <= width)
		return strdup(s);
	while (width > 0 && s[at]) {
		size_t w = char_width(s + at, &n);

		if (columns + w > width - 1)
			break;
		columns += w;
		at += n;
	}
	out = malloc(at + strlen(mark) + 1);
	if (!out)
		return NULL;
	memcpy(out, s, at);
	memcpy(out + at, mark, strlen(mark) + 1);
	if (width == 0)
		out[0] = '\0';
	return out;
}

size_t
out_columns(int fd)
{
	struct winsize ws;

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : 80;
}

/* The word at *s, cleaned: false at the end. A line feed is a word of its own, "". */
static bool
next_word(const char **s, char *word, size_t size)
{
	size_t n;

	*s += strspn(*s, " \t\r");
	if (!**s)
		return false;
	if (**s == '\n') {
		(*s)++;
		*word = '\0';
		return true;
	}
	n = strcspn(*s, " \t\r\n");
	if (n >= size)
		n = size - 1;
	memcpy(word, *s, n);
	word[n] = '\0';
	*s += n;
	text_clean(word);
	return true;
}

void
out_wrapped(FILE *f, const char *s, size_t indent, size_t width)
{
	char word[256];
	size_t column = 0;

	while (next_word(&s, word, sizeof(word))) {
		size_t w = out_width(word);

		if (column > 0 && (!*word || column + 1 + w > width)) {
			fputc('\n', f);
			column = 0;
		}
		if (!*word)
			continue;
		if (column == 0)
			column = (size_t)fprintf(f, "%*s", (int)indent, "") + w;
		else
			column += (size_t)fprintf(f, " ") + w;
		fputs(word, f);
	}
	if (column > 0)
		fputc('\n', f);
}
