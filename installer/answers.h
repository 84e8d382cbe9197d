/*
 * installer/answers.h - the answer file of a silent installation: a JSON object, checked as a whole before
 * anything is done with it.
 *
 *   {
 *     "disk": { "serial": "S4EWNX0M", "model": "Samsung*", "minimum": "100G", "maximum": "2T" },
 *     "password": "...",            or "passwordHash": "$y$j9T$..." as crypt(5) writes it
 *     "name": "host1",
 *     "address": "192.0.2.5/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1"],
 *     "adapter": "52:54:00:12:34:56",    whose address that is, by its MAC or name: else the first with a
 * link "finish": "restart"           or "powerOff"
 *   }
 *
 * "disk" and one of the passwords must be there. Without "address" the host asks DHCP.
 */
#ifndef INSTALLER_ANSWERS_H
#define INSTALLER_ANSWERS_H

#include <stdint.h>

#include "agent/host_settings.h"
#include "lib/err.h"

enum {
	ANSWERS_MAX = 64 * 1024, /* bytes of a file */
	PASSWORD_MIN = 8,        /* characters of an administrator's password */
	PASSWORD_MAX = 128,
};

enum finish { FINISH_RESTART, FINISH_POWER_OFF };

/* Which disk: all that is given must fit; * and ? in model and serial as in file names. */
struct disk_filter {
	char serial[128], model[128]; /* empty: any */
	uint64_t minimum, maximum;    /* bytes; maximum 0: none */
};

struct answers {
	struct disk_filter disk;
	char hash[256];                       /* of the root password, as in shadow(5) */
	char name[HOST_NAME_SIZE];            /* empty: the default */
	char adapter[HOST_MAC_SIZE];          /* MAC or name; empty: the first with a link */
	struct host_adapter_settings network; /* no address: DHCP */
	unsigned finish;                      /* enum finish */
};

/* 0, or -EINVAL with one sentence that begins with the member's path; *out is then unspecified. */
int answers_read(const char *text, size_t len, struct answers *out, struct err *e);
/* The same of a file; "-" is standard input. */
int answers_load(const char *path, struct answers *out, struct err *e);

/* "500", "20G", "1.5T": bytes, in powers of 1024; 0 or -EINVAL. */
int answers_size(const char *text, uint64_t *bytes, struct err *e);
/* Says what is wrong with a password that somebody has chosen. */
int answers_check_password(const char *password, struct err *e);

#endif
