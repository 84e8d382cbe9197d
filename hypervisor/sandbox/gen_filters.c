/*
 * hypervisor/sandbox/gen_filters.c - build-time program: compiles the table of syscalls.c into BPF, one
 * array a kind of thread, as a C header on standard output.
 *
 * Done at build time so that a worker neither carries libseccomp nor spends a million instructions on it
 * at every start.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/sandbox/syscalls.h"

static void
die(const char *what, int rc)
{
	fprintf(stderr, "gen_filters: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static void
add_rule(scmp_filter_ctx ctx, const struct allowed_call *c)
{
	int rc = c->mask ? seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1,
			       SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value))
			 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 0);

	if (rc < 0)
		die(c->why, rc);
}

static void
print_filter(scmp_filter_ctx ctx, const char *name)
{
	struct sock_filter f;
	FILE *t = tmpfile();
	int rc;

	if (!t)
		die("tmpfile", -errno);
	rc = seccomp_export_bpf(ctx, fileno(t));
	if (rc < 0)
		die("export", rc);
	if (fseek(t, 0, SEEK_SET) < 0)
		die("tmpfile", -errno);
	printf("static const struct sock_filter %s[] = {\n", name);
	while (fread(&f, sizeof(f), 1, t) == 1)
		printf("\t{ %#x, %u, %u, %#x },\n", f.code, f.jt, f.jf, f.k);
	printf("};\n");
	fclose(t);
}

static void
compile(enum thread_kind kind, const char *name)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!ctx)
		die("init", -ENOMEM);
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree */
	if (rc < 0)
		die("attributes", rc);
	for (size_t i = 0; i < allowed_calls_n; i++)
		if (allowed_calls[i].kinds & kind)
			add_rule(ctx, &allowed_calls[i]);
	for (size_t i = 0; i < tool_calls_n && kind == THREAD_TOOL; i++)
		add_rule(ctx, &tool_calls[i]);
	print_filter(ctx, name);
	seccomp_release(ctx);
}

int
main(void)
{
	printf(
	    "/* Made by hypervisor/sandbox/gen_filters.c from syscalls.c. */\n#include <linux/filter.h>\n\n");
	compile(THREAD_CONTROL, "control_filter");
	compile(THREAD_PROCESSOR, "processor_filter");
	compile(THREAD_IO, "io_filter");
	compile(THREAD_TOOL, "tool_filter");
	return 0;
}
