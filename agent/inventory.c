/* agent/inventory.c - machines on the data disk: found, made, changed, renamed, deleted. */
#include "agent/inventory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/vm_console.h"
#include "lib/file.h"
#include "lib/guid.h"
#include "lib/log.h"
#include "lib/text.h"

#define HALF_MADE    ".new-"
#define HALF_DELETED ".deleted-"
#define REMAINS      "vm.json.deleted" /* of a machine whose disks were left */

enum { DISKS_SHOWN = 1000 };

/* --- one machine -------------------------------------------------------------------------------------- */

static struct vm *
vm_new(const char *name)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->refs = 1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->changed, &attr);
	pthread_condattr_destroy(&attr);
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	vm_config_defaults(&vm->config);
	return vm;
}

struct vm *
vm_get(struct vm *vm)
{
	atomic_fetch_add(&vm->refs, 1);
	return vm;
}

void
vm_put(struct vm *vm)
{
	if (!vm || atomic_fetch_sub(&vm->refs, 1) > 1)
		return;
	for (int i = 0; i < VM_COM_PORTS; i++)
		console_put(vm->console[i]);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

static void
path_of(const struct machines *ms, const char *name, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s%s%s", ms->vms, name, file ? "/" : "", file ? file : "");
}

/* --- reading -------------------------------------------------------------------------------------------- */

static bool
look(const struct machines *ms, const struct vm *vm, struct vm_mark *mark)
{
	char path[PATH_MAX];
	struct stat st;

	path_of(ms, vm->name, "vm.json", path);
	memset(mark, 0, sizeof(*mark));
	if (stat(path, &st) < 0)
		return false;
	mark->mtime = st.st_mtim;
	mark->size = st.st_size;
	mark->inode = st.st_ino;
	return true;
}

static bool
same_mark(const struct vm_mark *a, const struct vm_mark *b)
{
	return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
	       a->size == b->size && a->inode == b->inode;
}

/* The sentence without the place of the file, which is always the same. */
static void
set_broken(struct vm *vm, const char *path, const char *why)
{
	size_t len = strlen(path);

	if (strncmp(why, path, len) == 0 && strncmp(why + len, ": ", 2) == 0)
		why += len + 2;
	snprintf(vm->broken, sizeof(vm->broken), "vm.json: %.200s", why);
}

static void
read_config(const struct machines *ms, struct vm *vm)
{
	char path[PATH_MAX];
	struct vm_config *c;
	struct err e = { 0 };
	json_t *doc;
	int rc = -1;

	c = malloc(sizeof(*c));
	if (!c) {
		set_broken(vm, "", "out of memory");
		return;
	}
	path_of(ms, vm->name, "vm.json", path);
	look(ms, vm, &vm->mark);
	doc = file_read_json(path, &e);
	if (doc)
		rc = vm_config_read(c, doc, &e);
	if (rc < 0) {
		const char *id = json_string_value(json_object_get(doc, "Id"));

		set_broken(vm, path, e.msg);
		if (id) /* by it a worker that runs is found again */
			guid_parse(id, vm->config.id);
	} else {
		vm->misnamed = strcmp(c->name, vm->name) != 0;
		memcpy(c->name, vm->name, sizeof(c->name)); /* the folder's name counts */
		vm->config = *c;
		vm->broken[0] = '\0';
	}
	json_decref(doc);
	free(c);
}

/* Broken or mended, as far as it does not run. */
static void
show_broken(struct vm *vm)
{
	if (vm->state != VM_OFF && vm->state != VM_CRITICAL)
		return;
	if (vm->keeper)
		return;
	vm->state = vm->broken[0] ? VM_CRITICAL : VM_OFF;
	snprintf(vm->reason, sizeof(vm->reason), "%s", vm->broken);
}

/* --- the array ------------------------------------------------------------------------------------------ */

/* Where name is, or would be. */
static size_t
place_of(const struct machines *ms, const char *name, bool *there)
{
	size_t low = 0, high = ms->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(ms->vm[mid]->name, name);

		if (order == 0) {
			*there = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*there = false;
	return low;
}

static int
reserve(struct machines *ms, struct err *e)
{
	size_t room = ms->room ? ms->room * 2 : 64;
	struct vm **bigger;

	if (ms->n < ms->room)
		return 0;
	bigger = realloc(ms->vm, room * sizeof(void *));
	if (!bigger)
		return err_set(e, ENOMEM, "out of memory");
	ms->vm = bigger;
	ms->room = room;
	return 0;
}

/* There is room, and nobody has its name. */
static void
insert(struct machines *ms, struct vm *vm)
{
	bool there;
	size_t at = place_of(ms, vm->name, &there);

	memmove(&ms->vm[at + 1], &ms->vm[at], (ms->n - at) * sizeof(void *));
	ms->vm[at] = vm;
	ms->n++;
}

static void
take_out(struct machines *ms, const struct vm *vm)
{
	for (size_t i = 0; i < ms->n; i++)
		if (ms->vm[i] == vm) {
			ms->n--;
			memmove(&ms->vm[i], &ms->vm[i + 1], (ms->n - i) * sizeof(void *));
			return;
		}
}

static struct vm *
by_id(const struct machines *ms, const uint8_t id[GUID_BYTES])
{
	for (size_t i = 0; i < ms->n; i++)
		if (memcmp(ms->vm[i]->config.id, id, GUID_BYTES) == 0)
			return ms->vm[i];
	return NULL;
}

struct vm *
inventory_find(struct machines *ms, const char *name_or_guid)
{
	uint8_t id[GUID_BYTES];
	struct vm *vm = NULL;
	bool there = false;
	size_t at;

	pthread_mutex_lock(&ms->lock);
	if (guid_parse(name_or_guid, id)) {
		vm = by_id(ms, id);
	} else {
		at = place_of(ms, name_or_guid, &there);
		vm = there ? ms->vm[at] : NULL;
	}
	if (vm)
		vm_get(vm);
	pthread_mutex_unlock(&ms->lock);
	return vm;
}

size_t
inventory_all(struct machines *ms, struct vm ***out)
{
	size_t n;

	pthread_mutex_lock(&ms->lock);
	n = ms->n;
	*out = malloc((n + 1) * sizeof(void *));
	if (!*out)
		n = 0;
	for (size_t i = 0; i < n; i++)
		(*out)[i] = vm_get(ms->vm[i]);
	pthread_mutex_unlock(&ms->lock);
	return n;
}

/* --- opening -------------------------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Never through a symbolic link, never onto another file system. */
static void
remove_tree(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		log_msg(LOG_WARN, "%s: cannot be removed: %s", path, strerror(errno));
}

static struct vm *
namesake(const struct machines *ms, const struct vm *vm)
{
	for (size_t i = 0; i < ms->n; i++)
		if (ms->vm[i] != vm && memcmp(ms->vm[i]->config.id, vm->config.id, GUID_BYTES) == 0)
			return ms->vm[i];
	return NULL;
}

static void
lose_id(struct vm *vm, const struct vm *other)
{
	snprintf(vm->broken, sizeof(vm->broken),
	    "vm.json: Id: is that of '%.100s' as well; give this machine another", other->name);
	memset(vm->config.id, 0, sizeof(vm->config.id));
}

/* A copied folder has the id of the machine it was copied from. */
static void
check_id(struct machines *ms, struct vm *vm)
{
	const struct vm *other = namesake(ms, vm);

	if (other && !vm->broken[0])
		lose_id(vm, other);
}

/* The copy has its original's name, too: whatever is read first, it is the copy that loses the id. */
static void
check_copy(struct machines *ms, struct vm *vm)
{
	struct vm *other = namesake(ms, vm);

	if (!other || vm->broken[0] || vm->misnamed || !other->misnamed)
		return;
	lose_id(other, vm);
	show_broken(other);
	log_msg(LOG_WARN, "%s: %s", other->name, other->broken);
}

static bool
no_id(const uint8_t id[GUID_BYTES])
{
	static const uint8_t zero[GUID_BYTES];

	return memcmp(id, zero, sizeof(zero)) == 0;
}

/* Sockets, users and clients know a machine by its id: an edited document does not change that. */
static void
read_again(struct machines *ms, struct vm *vm)
{
	struct vm_config *was = malloc(sizeof(*was));

	if (!was)
		return; /* next time */
	*was = vm->config;
	read_config(ms, vm);
	if (!no_id(was->id) && memcmp(was->id, vm->config.id, sizeof(was->id)) != 0) {
		vm->config = *was;
		snprintf(vm->broken, sizeof(vm->broken), "vm.json: Id: a machine keeps its id");
	} else if (no_id(was->id)) {
		check_id(ms, vm);
	}
	if (!vm->broken[0] && vm->config.revision <= was->revision)
		vm->config.revision = was->revision + 1; /* whoever saw the one before is told */
	show_broken(vm);
	free(was);
}

/* With both locks. */
static void
refresh(struct machines *ms, struct vm *vm)
{
	struct vm_mark now;

	look(ms, vm, &now);
	if (!same_mark(&now, &vm->mark))
		read_again(ms, vm);
}

void
inventory_refresh(struct machines *ms, struct vm *vm)
{
	pthread_mutex_lock(&ms->lock);
	pthread_mutex_lock(&vm->lock);
	if (!vm->gone)
		refresh(ms, vm);
	pthread_mutex_unlock(&vm->lock);
	pthread_mutex_unlock(&ms->lock);
}

static int
load(struct machines *ms, const char *name, struct err *e)
{
	struct vm *vm = vm_new(name);
	int rc;

	if (!vm)
		return err_set(e, ENOMEM, "out of memory");
	read_config(ms, vm);
	check_copy(ms, vm);
	check_id(ms, vm);
	show_broken(vm);
	if (vm->broken[0])
		log_msg(LOG_WARN, "%s: %s", name, vm->broken);
	rc = reserve(ms, e);
	if (rc < 0)
		vm_put(vm);
	else
		insert(ms, vm);
	return rc;
}

/* A folder in which only the disks of a deleted machine are. */
static bool
is_remains(const struct machines *ms, const char *name)
{
	char path[PATH_MAX];

	path_of(ms, name, "vm.json", path);
	if (access(path, F_OK) == 0)
		return false;
	path_of(ms, name, REMAINS, path);
	return access(path, F_OK) == 0;
}

/* scandir sorts: which of two with the same id comes first does not depend on the file system. */
static int
load_entry(struct machines *ms, const char *name, struct err *e)
{
	char path[PATH_MAX];
	struct stat st;

	path_of(ms, name, NULL, path);
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	if (strncmp(name, HALF_MADE, strlen(HALF_MADE)) == 0 ||
	    strncmp(name, HALF_DELETED, strlen(HALF_DELETED)) == 0) {
		remove_tree(path);
		return 0;
	}
	if (vm_name_check(name, NULL) < 0)
		return 0; /* lost+found is a name like any other, but has no vm.json */
	path_of(ms, name, "vm.json", path);
	if (access(path, F_OK) < 0 && (strcmp(name, "lost+found") == 0 || is_remains(ms, name)))
		return 0;
	return load(ms, name, e);
}

int
inventory_open(struct machines *ms, struct err *e)
{
	struct dirent **entry;
	int n, rc;

	pthread_mutex_init(&ms->lock, NULL);
	if (asprintf(&ms->vms, "%s/vms", ms->data) < 0)
		return err_set(e, ENOMEM, "out of memory");
	rc = file_make_dirs(ms->vms, 0755, e);
	if (rc < 0)
		return rc;
	n = scandir(ms->vms, &entry, NULL, alphasort);
	if (n < 0)
		return err_sys(e, "%s", ms->vms);
	for (int i = 0; i < n; i++) {
		if (rc == 0 && strcmp(entry[i]->d_name, ".") != 0 && strcmp(entry[i]->d_name, "..") != 0)
			rc = load_entry(ms, entry[i]->d_name, e);
		free(entry[i]);
	}
	free(entry);
	return rc;
}

void
inventory_close(struct machines *ms)
{
	for (size_t i = 0; i < ms->n; i++)
		vm_put(ms->vm[i]);
	free(ms->vm);
	free(ms->vms);
	ms->vm = NULL;
	ms->vms = NULL;
	ms->n = ms->room = 0;
	pthread_mutex_destroy(&ms->lock);
}

/* --- changing ------------------------------------------------------------------------------------------- */

static int
write_config(const char *folder, const struct vm_config *c, struct err *e)
{
	char path[PATH_MAX];
	json_t *doc = vm_config_write(c);
	int rc;

	if (!doc)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(path, sizeof(path), "%s/vm.json", folder);
	rc = file_replace_json(path, doc, 0640, e);
	json_decref(doc);
	return rc;
}

/* The whole machine in a hidden folder beside its place. */
static int
prepare(const char *folder, const struct vm_config *c, struct err *e)
{
	int rc;

	if (mkdir(folder, 0750) < 0)
		return err_sys(e, "%s", folder);
	rc = write_config(folder, c, e);
	if (rc < 0)
		remove_tree(folder);
	return rc;
}

/* By a machine, or by a folder that somebody put there; disks that a machine of that name has left are not in
 * the way of a new one. */
static int
name_taken(const struct machines *ms, const char *name, bool new, struct err *e)
{
	char path[PATH_MAX];
	bool there;

	place_of(ms, name, &there);
	if (there)
		return err_set(e, EEXIST, "there is a machine '%s' already", name);
	path_of(ms, name, NULL, path);
	return access(path, F_OK) == 0 && !(new &&is_remains(ms, name))
		   ? err_set(e, EEXIST, "there is a folder %s already", path)
		   : 0;
}

static int
taken(const struct machines *ms, const struct vm_config *c, struct err *e)
{
	char guid[GUID_TEXT + 1];

	guid_format(c->id, guid);
	if (by_id(ms, c->id))
		return err_set(e, EEXIST, "there is a machine with the id %s already", guid);
	return name_taken(ms, c->name, true, e);
}

/* The document alone moves, in one step: the disks stay where they are. */
static int
move_into_remains(struct machines *ms, const char *name, const char *folder, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];
	int rc;

	snprintf(from, sizeof(from), "%.*s/vm.json", PATH_MAX - 16, folder);
	path_of(ms, name, "vm.json", to);
	rc = file_rename(from, to, e);
	if (rc < 0)
		return rc;
	path_of(ms, name, REMAINS, to);
	unlink(to);
	remove_tree(folder);
	return 0;
}

/* With ms->lock. */
static int
move_in(struct machines *ms, struct vm *vm, const char *folder, struct err *e)
{
	char path[PATH_MAX];
	int rc = taken(ms, &vm->config, e);

	path_of(ms, vm->name, NULL, path);
	if (rc == 0)
		rc = reserve(ms, e);
	if (rc == 0 && is_remains(ms, vm->name))
		rc = move_into_remains(ms, vm->name, folder, e);
	else if (rc == 0 && renameat2(AT_FDCWD, folder, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		rc = err_sys(e, "%s", path);
	if (rc == 0) {
		insert(ms, vm_get(vm));
		look(ms, vm, &vm->mark);
	}
	return rc;
}

int
inventory_may_create(struct machines *ms, const struct vm_config *c, struct err *e)
{
	int rc;

	pthread_mutex_lock(&ms->lock);
	rc = taken(ms, c, e);
	pthread_mutex_unlock(&ms->lock);
	return rc;
}

int
inventory_create(struct machines *ms, const struct vm_config *c, struct vm **out, struct err *e)
{
	char folder[PATH_MAX], guid[GUID_TEXT + 1];
	uint8_t random[GUID_BYTES];
	struct vm *vm = vm_new(c->name);
	int rc;

	if (!vm)
		return err_set(e, ENOMEM, "out of memory");
	vm->config = *c;
	vm->config.revision = 1;
	vm_new_guid(random); /* not the machine's: two calls may try the same */
	guid_format(random, guid);
	snprintf(folder, sizeof(folder), "%s/" HALF_MADE "%s", ms->vms, guid);
	rc = prepare(folder, &vm->config, e);
	if (rc == 0) {
		pthread_mutex_lock(&ms->lock);
		rc = move_in(ms, vm, folder, e);
		pthread_mutex_unlock(&ms->lock);
		if (rc < 0)
			remove_tree(folder);
	}
	if (rc == 0)
		rc = file_sync_dir(ms->vms, e); /* else it is there, but may not outlive a crash */
	if (rc == 0)
		*out = vm;
	else
		vm_put(vm);
	return rc;
}

static int
rename_folder(struct machines *ms, struct vm *vm, const char *name, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];

	path_of(ms, vm->name, NULL, from);
	path_of(ms, name, NULL, to);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
		return err_sys(e, "%s", to);
	take_out(ms, vm);
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	insert(ms, vm); /* there is room: one was taken out */
	return file_sync_dir(ms->vms, e);
}

/* With both locks. The rename comes last: until then the old name and a whole document stand. */
static int
change(struct machines *ms, struct vm *vm, struct vm_config *c, struct err *e)
{
	char folder[PATH_MAX];
	int rc;

	c->revision = vm->config.revision + 1;
	path_of(ms, vm->name, NULL, folder);
	rc = write_config(folder, c, e);
	if (rc < 0) {
		refresh(
		    ms, vm); /* it may be there all the same: only that it lasts could not be made sure of */
		return rc;
	}
	vm->config = *c;
	vm->broken[0] = '\0';
	if (strcmp(c->name, vm->name) != 0)
		rc = rename_folder(ms, vm, c->name, e);
	memcpy(vm->config.name, vm->name, sizeof(vm->config.name));
	look(ms, vm, &vm->mark);
	show_broken(vm);
	return rc;
}

int
inventory_set(struct machines *ms, struct vm *vm, struct vm_config *c, int (*may)(struct vm *vm, void *arg),
    void *arg, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&ms->lock);
	pthread_mutex_lock(&vm->lock);
	if (vm->gone)
		rc = err_set(e, ENOENT, "the machine was deleted meanwhile");
	else if (may)
		rc = may(vm, arg);
	if (rc == 0 && strcmp(c->name, vm->name) != 0)
		rc = name_taken(ms, c->name, false, e);
	if (rc == 0)
		rc = change(ms, vm, c, e);
	pthread_mutex_unlock(&vm->lock);
	pthread_mutex_unlock(&ms->lock);
	return rc;
}

json_t *
inventory_disks(struct machines *ms, struct vm *vm)
{
	json_t *list = json_array();
	struct dirent **entry;
	char path[PATH_MAX];
	int n;

	pthread_mutex_lock(&vm->lock);
	path_of(ms, vm->name, "disks", path);
	pthread_mutex_unlock(&vm->lock);
	n = scandir(path, &entry, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    json_array_size(list) < DISKS_SHOWN && text_is_clean(name, strlen(name)))
			json_array_append_new(list, json_sprintf("./disks/%s", name));
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return list;
}

static bool
has_disks(const struct machines *ms, const struct vm *vm)
{
	char path[PATH_MAX];
	DIR *dir;
	int n = 0;

	path_of(ms, vm->name, "disks", path);
	dir = opendir(path);
	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2; /* beside . and .. */
}

/* All but the disks. From the first step on there is no machine, whatever else of it is left. */
static int
leave_disks(struct machines *ms, const struct vm *vm, struct err *e)
{
	char path[PATH_MAX], to[PATH_MAX];
	struct dirent **entry;
	int n, rc;

	path_of(ms, vm->name, "vm.json", path);
	path_of(ms, vm->name, REMAINS, to);
	rc = access(path, F_OK) == 0 ? file_rename(path, to, e) : file_replace(to, "", 0, 0640, e);
	if (rc < 0)
		return rc;
	path_of(ms, vm->name, NULL, path);
	n = scandir(path, &entry, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		static const char *const stay[] = { ".", "..", "disks", REMAINS };
		bool goes = true;

		for (size_t s = 0; s < sizeof(stay) / sizeof(stay[0]); s++)
			goes = goes && strcmp(entry[i]->d_name, stay[s]) != 0;
		path_of(ms, vm->name, entry[i]->d_name, path);
		if (goes)
			remove_tree(path);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return 0;
}

/* With both locks. Away from its place; what is at `to` then is to be removed. */
static int
move_out(struct machines *ms, struct vm *vm, bool keep_disks, const char *to, struct err *e)
{
	char from[PATH_MAX];

	if (keep_disks && has_disks(ms, vm))
		return leave_disks(ms, vm, e);
	path_of(ms, vm->name, NULL, from);
	if (rename(from, to) < 0 && errno != ENOENT) /* somebody removed it by hand */
		return err_sys(e, "%s", from);
	return 0;
}

int
inventory_delete(struct machines *ms, struct vm *vm, bool keep_disks, int (*may)(struct vm *vm, void *arg),
    void *arg, struct err *e)
{
	char to[PATH_MAX], guid[GUID_TEXT + 1];
	uint8_t random[GUID_BYTES];
	int rc = 0;

	vm_new_guid(random);
	guid_format(random, guid);
	snprintf(to, sizeof(to), "%s/" HALF_DELETED "%s", ms->vms, guid);
	pthread_mutex_lock(&ms->lock);
	pthread_mutex_lock(&vm->lock);
	if (vm->gone)
		rc = err_set(e, ENOENT, "the machine was deleted meanwhile");
	else if (may)
		rc = may(vm, arg);
	if (rc == 0)
		rc = move_out(ms, vm, keep_disks, to, e);
	if (rc == 0) {
		take_out(ms, vm);
		vm->gone = true;
	}
	pthread_mutex_unlock(&vm->lock);
	pthread_mutex_unlock(&ms->lock);
	if (rc < 0)
		return rc;
	rc = file_sync_dir(ms->vms, e);
	if (access(to, F_OK) == 0)
		remove_tree(to);
	vm_put(vm); /* the inventory's own */
	return rc;
}

/* --- what ran ------------------------------------------------------------------------------------------- */

void
inventory_mark_running(struct machines *ms, const struct vm *vm, bool running)
{
	char path[PATH_MAX];
	int fd;

	path_of(ms, vm->name, "running", path);
	if (!running) {
		unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	if (fd >= 0)
		close(fd);
	else
		log_msg(LOG_WARN, "%s: %s", path, strerror(errno));
}

bool
inventory_was_running(struct machines *ms, const struct vm *vm)
{
	char path[PATH_MAX];

	path_of(ms, vm->name, "running", path);
	return access(path, F_OK) == 0;
}
