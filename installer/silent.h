/*
 * installer/silent.h - where the answers of a silent installation come from: a file named on the kernel's
 * command line (freehold.answers=PATH, of the medium unless it begins with a slash), or answers.json on a FAT
 * or ISO 9660 file system or in a GPT partition labelled FREEHOLD-ANSW (a FAT label ends after 11 characters:
 * FREEHOLD-AN).
 */
#ifndef INSTALLER_SILENT_H
#define INSTALLER_SILENT_H

#include <stddef.h>

#include "lib/err.h"

/*
 * 1 with the text (terminated, the caller frees it) and a sentence of where it is from in source; 0 when
 * there are none; -errno with *e when they should be there and cannot be read. cmdline: "/proc/cmdline".
 */
int silent_find(const char *cmdline, const char *medium, char **text, char source[128], struct err *e);
/* The value of a word on the kernel's command line; "" when it is not there. */
void silent_argument(const char *cmdline, const char *name, char *out, size_t size);

#endif
