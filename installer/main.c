/*
 * installer/main.c - fh-install: puts Freehold onto a disk, after three questions or none.
 *
 * Without options it is what a console of the medium shows: it looks for an answer file, carries it out, or
 * asks. Exit status 0: the system is to be used live; 1: something failed, and it was said; 2: wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/core/host.h"
#include "installer/boot_entry.h"
#include "installer/dialog.h"
#include "installer/install.h"
#include "installer/settings.h"
#include "installer/silent.h"
#include "installer/tool.h"

enum { LOOKING_TRIES = 50, LOOKING_TRY_US = 100000 };

#define MEDIUM "/run/freehold/medium"
#define LOCK   "/run/freehold/install.lock"
#define TRIED  "/run/freehold/answers-tried"

static const struct disks_from here = {
	.sys = "/sys", .mountinfo = "/proc/self/mountinfo", .medium = MEDIUM
};

static const char usage[] =
    "usage: fh-install                            asks, or finds an answer file\n"
    "       fh-install --check FILE               checks an answer file\n"
    "       fh-install --answers FILE [--onto DISK] [--medium FOLDER]\n"
    "                                             installs silently; DISK may be an image file\n"
    "An answer file is JSON; disk and one of the passwords must be there:\n"
    "  { \"disk\": { \"serial\": \"S4EW*\", \"model\": \"Samsung*\", \"minimum\": \"100G\", \"maximum\": "
    "\"2T\" },\n"
    "    \"password\": \"...\" (or \"passwordHash\": \"$y$...\"), \"name\": \"host1\",\n"
    "    \"address\": \"192.0.2.5/24\", \"gateway\": \"192.0.2.1\", \"dns\": [ \"192.0.2.1\" ], \"adapter\": "
    "\"MAC or name\",\n"
    "    \"finish\": \"restart\" (or \"powerOff\") }\n"
    "It is found as answers.json on a FAT or ISO 9660 file system labelled FREEHOLD-ANSW (FAT: FREEHOLD-AN), "
    "or where\n"
    "the kernel's freehold.answers=PATH says.\n";

/* Where progress is shown: this console, and for a silent installation the others too. */
struct screen {
	bool all;
	bool terminal; /* may draw over its own line */
	char last[64];
	int percent;
};

static void
tell(const struct screen *s, const char *text)
{
	static const char *const others[] = { "/dev/tty1", "/dev/ttyS0", "/dev/ttyS1", "/dev/ttyS2",
		"/dev/ttyS3", "/dev/hvc0" };
	const char *own = ttyname(STDOUT_FILENO);
	int fd;

	fputs(text, stdout);
	fflush(stdout);
	for (size_t i = 0; s->all && i < sizeof(others) / sizeof(others[0]); i++) {
		if (own && strcmp(own, others[i]) == 0)
			continue;
		fd = open(others[i], O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (write(fd, text, strlen(text)) < 0)
			errno = 0; /* no hardware behind it */
		close(fd);
	}
}

static void
show_progress(void *ctx, const char *step, int percent)
{
	struct screen *s = ctx;
	char text[128];

	if (strcmp(step, s->last) != 0) {
		snprintf(s->last, sizeof(s->last), "%s", step);
		s->percent = 0;
		snprintf(text, sizeof(text), "  %s...", step);
		tell(s, text);
	}
	if (percent == 100) {
		if (s->percent != 100)
			tell(s, " done\r\n");
		s->percent = 100;
	} else if (percent >= s->percent + 25) {
		snprintf(text, sizeof(text), " %d%%", percent);
		tell(s, text);
		s->percent = percent;
	}
}

/* A failure is no more than a line: firmware finds the disk by itself, too. */
static void
tell_firmware(const struct screen *s, const struct layout *made)
{
	struct err e = { 0 };
	char text[400];
	bool told;

	if (boot_entry_tell(made, &told, &e) < 0)
		snprintf(text, sizeof(text),
		    "The firmware's boot menu could not be changed (%s); it finds the disk by itself.\r\n",
		    e.msg);
	else if (told)
		snprintf(text, sizeof(text), "The firmware's boot menu has it first, as Freehold.\r\n");
	else
		return;
	tell(s, text);
}

/* Says it when guests cannot run here, by the worker's own check. That can be mended later: nothing is
 * refused. */
static void
warn_of_processor(const struct screen *s)
{
	char text[600];
	struct err e = { 0 };
	struct host h;

	if (host_open(&h, &e) == 0) {
		close(h.kvm_fd);
		return;
	}
	snprintf(text, sizeof(text),
	    "\r\nWARNING: virtual machines cannot run on this machine as it is now:\r\n%s.\r\n"
	    "Freehold can be installed all the same; machines start once that is mended.\r\n\r\n",
	    e.msg);
	tell(s, text);
}

/* live: the disk is one of this machine, whose firmware is told. */
static int
do_install(
    struct screen *s, const char *disk, const char *medium, const struct answers *a, bool live, struct err *e)
{
	struct install in = {
		.disk = disk, .medium = medium, .answers = a, .progress = show_progress, .ctx = s
	};
	struct layout made;
	char text[256];
	int rc = install_run(&in, &made, e);

	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text),
	    "Freehold is on %s: boot partition, two slots, %.1f GB for data. It starts by BIOS and UEFI.\r\n",
	    disk, (double)made.part[PART_DATA].size / 1e9);
	tell(s, text);
	if (live)
		tell_firmware(s, &made);
	return 0;
}

/* Asks init, and waits to be ended by it. */
static void
finish(const struct screen *s, enum finish what)
{
	const char *program = what == FINISH_POWER_OFF ? "poweroff" : "reboot";
	struct err e;

	tell(s, what == FINISH_POWER_OFF ? "Switching off.\r\n" : "Restarting; take the medium out.\r\n");
	sync();
	if (tool_run((const char *const[]){ program, NULL }, &e) < 0)
		fprintf(stderr, "fh-install: %s\n", e.msg);
	pause();
}

/* One installation at a time: a descriptor to close when it is over. While another console has it, this one
 * waits; that the other only looked for an answer file is not worth a line. */
static int
lock(void)
{
	int fd = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600), tries = 0, rc = 0;

	while (fd >= 0 && (rc = flock(fd, LOCK_EX | LOCK_NB)) < 0 && tries++ < LOOKING_TRIES)
		usleep(LOOKING_TRY_US);
	if (rc < 0) {
		puts("Another console is installing; this one waits for it.");
		while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
			;
	}
	return fd;
}

/* The disk of a filter, everything else checked too: nothing has been written when this fails. */
static int
choose(const struct answers *a, struct disk *out, struct err *e)
{
	struct disk *list = calloc(DISKS_MAX, sizeof(*list));
	int rc;

	if (!list)
		return err_set(e, ENOMEM, "out of memory");
	rc = disks_list(&here, list, DISKS_MAX, e);
	if (rc >= 0)
		rc = disks_choose(list, (size_t)rc, &a->disk, e);
	if (rc >= 0)
		*out = list[rc];
	free(list);
	return rc < 0 ? rc : settings_check("/sys/class/net", a, e);
}

/* Carries an answer file out, once for each start of the medium; returns when there is none, or it failed and
 * was told. */
static void
silent(void)
{
	struct screen s = { .all = true };
	char source[128] = "", text[400], *file = NULL;
	struct answers a;
	struct disk disk;
	struct err e = { 0 };
	int fd = open(TRIED, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

	if (fd < 0)
		return; /* another console has, or it was before */
	close(fd);
	rc = silent_find("/proc/cmdline", MEDIUM, &file, source, &e);
	if (rc == 0)
		return;
	if (rc > 0) {
		snprintf(text, sizeof(text), "\r\nInstalling Freehold as %s says.\r\n", source);
		tell(&s, text);
		rc = strlen(file) > ANSWERS_MAX
			 ? err_set(&e, EINVAL, "larger than %d KiB", ANSWERS_MAX / 1024)
			 : answers_read(file, strlen(file), &a, &e);
	}
	if (file)
		explicit_bzero(file, strlen(file));
	free(file);
	if (rc >= 0)
		rc = choose(&a, &disk, &e);
	if (rc >= 0) {
		disks_describe(&disk, source, sizeof(source));
		snprintf(text, sizeof(text), "Onto %s.\r\n", source);
		tell(&s, text);
		warn_of_processor(&s);
		rc = do_install(&s, disk.path, MEDIUM, &a, true, &e);
		if (rc == 0)
			finish(&s, a.finish);
		snprintf(text, sizeof(text), "\r\nThe installation failed: %s.\r\n", e.msg);
	} else {
		snprintf(text, sizeof(text), "\r\nNothing was installed: %s.\r\n", e.msg);
	}
	tell(&s, text);
}

/* The consoles of the medium. */
static int
console(void)
{
	struct ask t = { stdin, stdout };
	struct screen s = { 0 };
	char text[64];
	struct answers a;
	struct disk disk;
	struct err e = { 0 };
	int held;

	puts("\nFreehold installer");
	held = lock();
	silent();
	if (held >= 0)
		close(held); /* a console that nobody sits at must not keep others from it */
	warn_of_processor(&s);
	for (;;) {
		switch (dialog_run(&t, &here, &disk, &a)) {
		case CHOICE_LIVE:
			return 0;
		case CHOICE_END:
			return 1;
		case CHOICE_INSTALL:
			break;
		}
		putchar('\n');
		held = lock();
		if (do_install(&s, disk.path, MEDIUM, &a, true, &e) == 0)
			break; /* the lock is kept: the machine restarts */
		if (held >= 0)
			close(held);
		printf("\nThe installation failed: %s.\n\n", e.msg);
	}
	if (ask_line(&t, "\nRestart now? (yes, no)", "yes", "  'no' goes on to the live system.", text,
		sizeof(text)) &&
	    (text[0] == 'n' || text[0] == 'N'))
		return 0;
	finish(&s, FINISH_RESTART);
	return 1;
}

static int
complain(const struct err *e)
{
	fprintf(stderr, "fh-install: %s\n", e->msg);
	return 1;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "check", required_argument, NULL, 'c' },
		{ "answers", required_argument, NULL, 'a' }, { "onto", required_argument, NULL, 'o' },
		{ "medium", required_argument, NULL, 'm' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	const char *check = NULL, *file = NULL, *onto = NULL, *medium = MEDIUM;
	struct screen s = { 0 };
	struct answers a;
	struct disk disk;
	struct err e = { 0 };
	int o;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			check = optarg;
			break;
		case 'a':
			file = optarg;
			break;
		case 'o':
			onto = optarg;
			break;
		case 'm':
			medium = optarg;
			break;
		default:
			fputs(usage, o == 'h' ? stdout : stderr);
			return o == 'h' ? 0 : 2;
		}
	}
	if (optind < argc || (check && file) || (onto && !file)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!check && !file)
		return console();
	if (answers_load(check ? check : file, &a, &e) < 0)
		return complain(&e);
	if (check) {
		puts("The answer file is complete and right.");
		return 0;
	}
	if (!onto && choose(&a, &disk, &e) < 0)
		return complain(&e);
	if (do_install(&s, onto ? onto : disk.path, medium, &a, !onto, &e) < 0)
		return complain(&e);
	return 0;
}
