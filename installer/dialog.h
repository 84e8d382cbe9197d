/*
 * installer/dialog.h - the conversation of an installation: which disk, the password, go. On any "no" it
 * begins again. Everything else has a default and can be changed later in the menu.
 */
#ifndef INSTALLER_DIALOG_H
#define INSTALLER_DIALOG_H

#include "installer/ask.h"
#include "installer/disks.h"

enum choice {
	CHOICE_INSTALL, /* *disk and a->hash are filled */
	CHOICE_LIVE,    /* the system is to be used from the medium */
	CHOICE_END,     /* the input has ended */
};

/* Does not write to any disk. a is zeroed first. */
enum choice dialog_run(struct ask *t, const struct disks_from *from, struct disk *disk, struct answers *a);
/* What has to be typed to confirm a disk: the last four characters of its serial, or its name without one. */
void dialog_token(const struct disk *d, char *out, size_t size);

#endif
