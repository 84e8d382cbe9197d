/*
 * agent/vm_disks.h - the disks and DVD drives of a machine, in its document and in its worker.
 *
 * The two never disagree for longer than a change takes: a change is asked of the worker first, written to
 * vm.json when that has agreed, and taken back from the worker if it cannot be written. Changes of one
 * machine's disks come one after the other, and none goes on while the machine starts: whoever changes holds
 * vm->disks_busy from vm_disks_begin to vm_disks_end. What a guest ejects by itself is written by its keeper,
 * or at the end of the change that was in the way. Integration components are changed in the same way.
 *
 * Without vm->lock, all of them.
 */
#ifndef AGENT_VM_DISKS_H
#define AGENT_VM_DISKS_H

#include <sys/stat.h>

#include "agent/fault.h"
#include "agent/vm.h"

/* A disk's files, open and locked: its own, then those of its parents, which are only read. None of an empty
 * drive. */
struct vm_disk_files {
	size_t n;
	int fd[1 + VM_CHAIN_MAX];
};
/*
 * Opens and locks d's file for the machine of c (its name and id), and the parents that c names for d's
 * place. A lock that somebody lets go of right now (a worker that has just ended) is waited for; whoever
 * holds it otherwise is named. 0 and *files the caller's to close, or a fault at "path" and there are none.
 */
int vm_disk_open(struct machines *ms, const struct vm_config *c, const struct vm_disk *d,
    struct vm_disk_files *files, struct fault *f);
void vm_disk_close(struct vm_disk_files *files);
/* Whether all of them can be opened now. */
int vm_disks_check(struct machines *ms, const struct vm_config *c, struct fault *f);

enum { VM_DISK_WORDS = 64 };
/* Whether c names the file: as a disk, a disc, or the parent of a disk; words says which. */
bool vm_disk_of_file(
    struct machines *ms, const struct vm_config *c, const struct stat *file, char words[VM_DISK_WORDS]);
/* A fault at "path" that says which machine that runs has the file; false: none has. */
bool vm_disk_name_holder(struct machines *ms, const struct stat *file, const char *path, struct fault *f);

/* A change in the making. */
struct disks_change {
	struct machines *ms;
	struct vm *vm;
	struct vm_config *is; /* as it was at the beginning; then as it shall be */
	bool runs;            /* it has a worker, which is asked first */
};
/* Waits its turn (as long as a start takes, at the very worst), and fills ch. 0, or a fault and nothing to
 * end. */
int vm_disks_begin(struct disks_change *ch, struct machines *ms, struct vm *vm, struct fault *f);
/* Lets others go on. */
void vm_disks_end(struct disks_change *ch);

/* Asks the worker; files may be NULL. 0 or -errno with *why. Takes params. *result may be NULL. */
int vm_disks_ask(struct disks_change *ch, const char *method, json_t *params,
    const struct vm_disk_files *files, json_t **result, struct err *why);
/* Gives the worker d with its files; ch->is names its parents. */
int vm_disks_give(struct disks_change *ch, const struct vm_disk *d, struct fault *f);
/* Takes the disk at d's place away from the worker and waits for a while until it has let go of the file;
 * *closed tells whether it has. -ENOENT in *why: it had none there. */
int vm_disks_take(struct disks_change *ch, const struct vm_disk *d, bool *closed, struct err *why);

/*
 * Writes d (at its place, with the parents that ch->is names there) or, with drop, what is without it, into
 * vm.json. Others may have changed the rest of the document meanwhile: that stays. ch->is is the whole as it
 * is then, also when it could not be written.
 */
int vm_disks_write(struct disks_change *ch, const struct vm_disk *d, bool drop, struct fault *f);

/* The same for anything else in the document: edit makes what shall be of what is; 0, or negative with *e. */
int vm_disks_edit(struct disks_change *ch, int (*edit)(struct vm_config *c, const void *arg, struct err *e),
    const void *arg, struct fault *f);

/* For keepers: writes down what the guest has ejected, unless a change is under way, which then does it. */
void vm_disks_settle(struct machines *ms, struct vm *vm);

/* A call that asks a worker something about its disks, outside of a change: a new reference, or NULL. */
json_t *vm_disks_report(struct vm *vm);

#endif
