/*
 * agent/inventory.h - all machines, as they are on the data disk: DATA/vms/NAME/vm.json.
 *
 * Nothing else holds truth. A machine is made in a folder ".new-GUID" and moved to its place when it is
 * whole; one that is deleted is moved to ".deleted-GUID" first, unless its disks are to stay; a rename is one
 * rename. After a crash at any point each is there whole or not at all, and what was left half is swept away
 * at the next start. A vm.json that cannot be used makes that machine Critical, with the sentence, and stops
 * nothing else; it is read again as soon as somebody has changed it.
 *
 * Any thread. Functions return 0 or -errno with one sentence.
 */
#ifndef AGENT_INVENTORY_H
#define AGENT_INVENTORY_H

#include "agent/vm.h"

/* Sweeps and reads all. ms->data is set. Fails only when DATA/vms itself cannot be read or made. */
int inventory_open(struct machines *ms, struct err *e);
void inventory_close(struct machines *ms);

/* A machine by name or GUID, or NULL; vm_put it. */
struct vm *inventory_find(struct machines *ms, const char *name_or_guid);
/* All, sorted by name, each to be vm_put, the array to be freed. Returns how many; 0 with *out NULL, too,
 * when memory is out. */
size_t inventory_all(struct machines *ms, struct vm ***out);

/* Reads vm.json again if it was edited. Takes the locks itself. */
void inventory_refresh(struct machines *ms, struct vm *vm);

/* Whether inventory_create would find name or id taken: 0 or -EEXIST. */
int inventory_may_create(struct machines *ms, const struct vm_config *c, struct err *e);
/* Makes a machine of c (name, id and all). -EEXIST: the name or the id is taken.
 * *out is to be vm_put. */
int inventory_create(struct machines *ms, const struct vm_config *c, struct vm **out, struct err *e);
/*
 * Gives vm a new document; its revision is counted up. Another c->name renames it (-EEXIST: taken). `may`
 * (may be NULL) is asked under the locks, right before anything is written: 0 to go on.
 */
int inventory_set(struct machines *ms, struct vm *vm, struct vm_config *c,
    int (*may)(struct vm *vm, void *arg), void *arg, struct err *e);
/*
 * Removes it with all that is in its folder. With keep_disks the folder disks stays where it is, if anything
 * is in it: vm.json is called vm.json.deleted then, until a machine of that name is made again.
 */
int inventory_delete(struct machines *ms, struct vm *vm, bool keep_disks,
    int (*may)(struct vm *vm, void *arg), void *arg, struct err *e);
/* What is in its folder disks: an array of names "./disks/NAME", sorted. A new reference, or NULL. */
json_t *inventory_disks(struct machines *ms, struct vm *vm);

/* Whether it was running when the host went down: a file "running" in its folder. With vm->lock. */
void inventory_mark_running(struct machines *ms, const struct vm *vm, bool running);
bool inventory_was_running(struct machines *ms, const struct vm *vm);

#endif
