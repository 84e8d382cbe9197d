/* installer/ask.c - one question, one line. */
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "installer/ask.h"

/* A line without its end; what does not fit is dropped. False at the end of the input. */
static bool
read_line(FILE *in, char *out, size_t size)
{
	size_t n = 0;
	int c;

	while ((c = getc(in)) != EOF && c != '\n' && c != '\r') {
		if (c == 0x7f || c == '\b')
			n -= n > 0;
		else if (n < size - 1)
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return c != EOF || n > 0;
}

static void
trim(char *s)
{
	size_t n = strlen(s), lead = strspn(s, " \t");

	while (n > lead && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	memmove(s, s + lead, n - lead);
	s[n - lead] = '\0';
}

bool
ask_line(struct ask *a, const char *question, const char *dflt, const char *help, char *out, size_t size)
{
	for (;;) {
		if (dflt && dflt[0])
			fprintf(a->out, "%s [%s] ", question, dflt);
		else
			fprintf(a->out, "%s ", question);
		fflush(a->out);
		if (!read_line(a->in, out, size))
			return false;
		trim(out);
		if (strcmp(out, "?") == 0) {
			fprintf(a->out, "%s\n", help);
		} else if (out[0]) {
			return true;
		} else if (dflt) {
			snprintf(out, size, "%s", dflt);
			return true;
		}
	}
}

bool
ask_secret(struct ask *a, const char *question, const char *help, char *out, size_t size)
{
	struct termios was, quiet;
	bool terminal = tcgetattr(fileno(a->in), &was) == 0, got;

	do {
		fprintf(a->out, "%s ", question);
		fflush(a->out);
		if (terminal) {
			quiet = was;
			quiet.c_lflag &= (tcflag_t)~ECHO;
			tcsetattr(fileno(a->in), TCSADRAIN, &quiet);
		}
		got = read_line(a->in, out, size);
		if (terminal)
			tcsetattr(fileno(a->in), TCSADRAIN, &was);
		fputc('\n', a->out);
		if (got && strcmp(out, "?") == 0)
			fprintf(a->out, "%s\n", help);
	} while (got && strcmp(out, "?") == 0);
	return got;
}
