/* agent/vhd_work.c - calls about images: which image, who may, who uses it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/inventory.h"
#include "agent/vhd_calls.h"
#include "agent/vm_keeper.h"
#include "lib/log.h"
#include "lib/text.h"

/* --- which ---------------------------------------------------------------------------------------------- */

int
vhd_take_path(const struct vhd_work *w, const char *param, const char *given, char out[VM_DISK_PATH_SIZE])
{
	struct err e = { 0 };

	if (disk_file_tidy(&w->at, given, out, VM_DISK_PATH_SIZE, &e) < 0)
		return fault_err(w->f, FAULT_FILE_BAD, param, "file.list shows what there is", &e);
	if (out[0] == '/')
		return fault_set(w->f, FAULT_FILE_BAD, param, NULL, "%s is a device and no image", out);
	if (out[0] == '.' && !w->name[0])
		return fault_set(w->f, FAULT_BAD_PARAMS, param, "give the machine's name as vm",
		    "%s is in a machine's folder: say which machine's", out);
	return 0;
}

static int
take_machine(struct vhd_work *w)
{
	struct vm *vm;

	if (!w->p->vm[0])
		return 0;
	vm = call_vm(w->c, w->p->vm, w->f);
	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	text_copy(w->name, sizeof(w->name), vm->name);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return 0;
}

int
vhd_begin(struct vhd_work *w, struct call *c, const void *params, json_t *result, struct fault *f)
{
	int rc;

	*w = (struct vhd_work){ .c = c, .p = params, .result = result, .f = f };
	w->at = (struct disk_place){ c->agent->o.data, w->name };
	rc = take_machine(w);
	if (rc == 0)
		rc = vhd_take_path(w, "path", w->p->path, w->path);
	if (rc < 0)
		return rc;
	image_whole_path(&w->at, w->path, w->whole);
	w->format = call_has(c, "format") ? w->p->format : image_format_of(w->path);
	return 0;
}

/* --- who may -------------------------------------------------------------------------------------------- */

int
vhd_may_write(const struct vhd_work *w, const char *param, const char *path)
{
	if (path[0] == '.' || call_may(w->c, ROLE_ADMINISTRATOR, "/"))
		return 0;
	return fault_set(w->f, FAULT_FORBIDDEN, param, NULL,
	    "%s is there for all machines: only an administrator of the host may have it changed", path);
}

int
vhd_is_free(const struct vhd_work *w, const char *path, enum disk_use use)
{
	struct err e = { 0 };
	struct stat st = { 0 };
	int fd = disk_file_open(&w->at, path, use, 0, &st, &e);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (e.code == EAGAIN && vm_disk_name_holder(w->c->agent->machines, &st, path, w->f))
		return -1;
	err_wrap(&e, -e.code, "%s", path);
	return fault_err(w->f,
	    e.code == ENOENT                      ? FAULT_FILE_NOT_FOUND
	    : e.code == EAGAIN || e.code == EBUSY ? FAULT_DISK_IN_USE
						  : FAULT_FILE_BAD,
	    "path", e.code == ENOENT ? "file.list shows what there is" : NULL, &e);
}

int
vhd_is_new(const struct vhd_work *w, const char *param, const char *path)
{
	char folder[PATH_MAX], whole[PATH_MAX];
	int rc = vhd_may_write(w, param, path);

	if (rc < 0)
		return rc;
	image_whole_path(&w->at, path, whole);
	image_folder(&w->at, path, folder);
	if (access(whole, F_OK) == 0)
		return fault_set(w->f, FAULT_FILE_EXISTS, param, NULL, "%s is there already", path);
	if (path[0] != '.' && access(folder, F_OK) < 0)
		return fault_set(
		    w->f, FAULT_FOLDER_NOT_FOUND, param, NULL, "there is no folder for %s", path);
	return 0;
}

/* --- documents ------------------------------------------------------------------------------------------ */

/* The same file by its short form: another machine's folder is another one. */
static bool
may_name(const struct vhd_work *w, const struct vm_config *c, const char *path)
{
	return path[0] != '.' || strcmp(w->name, c->name) == 0;
}

static bool
is_disk_at(
    const struct vhd_work *w, const struct vm_config *c, uint64_t controller, uint64_t lun, const char *path)
{
	if (!path || !may_name(w, c, path))
		return false;
	for (size_t i = 0; i < c->devices.disks; i++)
		if (c->devices.disk[i].controller == controller && c->devices.disk[i].lun == lun)
			return strcmp(c->devices.disk[i].path, path) == 0;
	return false;
}

static int
no_children_in(const struct vhd_work *w, const struct vm_config *c, const char *path, const char *without,
    const char *what)
{
	for (size_t i = 0; may_name(w, c, path) && i < c->devices.parents; i++) {
		const struct vm_parent *p = &c->devices.parent[i];

		if (strcmp(p->path, path) != 0 || is_disk_at(w, c, p->controller, p->lun, without))
			continue;
		return fault_set(w->f, FAULT_FILE_IN_USE, "path", "force=true does it all the same",
		    "%s is a parent of disk %u:%u of '%s', which would not fit it any more if it were %s",
		    path, (unsigned)p->controller, (unsigned)p->lun, c->name, what);
	}
	return 0;
}

/* Calls fn with each machine and what its document says. */
static int
each_machine(struct vhd_work *w,
    int (*fn)(struct vhd_work *w, struct vm *vm, const struct vm_config *c, void *arg), void *arg)
{
	struct vm_config *c = malloc(sizeof(*c));
	struct vm **all;
	size_t n = inventory_all(w->c->agent->machines, &all);
	int rc = c ? 0 : fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "out of memory");

	for (size_t i = 0; all && i < n; i++) {
		if (rc == 0 && c) {
			pthread_mutex_lock(&all[i]->lock);
			*c = all[i]->config;
			memcpy(c->name, all[i]->name, sizeof(c->name));
			pthread_mutex_unlock(&all[i]->lock);
			rc = fn(w, all[i], c, arg);
		}
		vm_put(all[i]);
	}
	free(all);
	free(c);
	return rc;
}

struct children {
	const char *path, *without, *what;
};

static int
look_for_children(struct vhd_work *w, struct vm *vm, const struct vm_config *c, void *arg)
{
	const struct children *s = arg;

	(void)vm;
	return no_children_in(w, c, s->path, s->without, s->what);
}

int
vhd_no_children(const struct vhd_work *w, const char *path, const char *without, const char *what)
{
	struct vhd_work copy = *w;
	struct children s = { path, without, what };

	copy.at.name = copy.name;
	return w->p->force ? 0 : each_machine(&copy, look_for_children, &s);
}

struct move {
	const char *was;
	enum vm_disk_format format;
	const char *const *path;
	size_t n;
};

static void
tell_changed(struct disks_change *ch)
{
	json_t *data;

	pthread_mutex_lock(&ch->vm->lock);
	data = vm_event_data(ch->vm);
	json_object_set_new(data, "revision", json_integer((json_int_t)ch->vm->config.revision));
	pthread_mutex_unlock(&ch->vm->lock);
	ch->ms->publish(ch->ms->agent, "vm.changed", data);
}

static int
move_one(struct vhd_work *w, struct vm *vm, uint64_t controller, uint64_t lun, const struct move *m)
{
	struct disks_change ch;
	struct vm_disk *is, d;
	int rc = vm_disks_begin(&ch, w->c->agent->machines, vm, w->f);

	if (rc < 0)
		return rc;
	is = vm_config_disk(ch.is, controller, lun);
	if (is && strcmp(is->path, m->was) == 0 && ch.runs)
		rc = vhd_is_free(w, m->was, USE_WRITE); /* it may have been started since */
	if (rc == 0 && is && strcmp(is->path, m->was) == 0) {
		d = *is;
		d.format = m->format;
		text_copy(d.path, sizeof(d.path), m->path[0]);
		if (!vm_config_put_parents(ch.is, controller, lun, m->path + 1, m->n - 1))
			rc = fault_set(
			    w->f, FAULT_LIMIT, "path", NULL, "'%s' would have too many parents", vm->name);
		if (rc == 0)
			rc = vm_disks_write(&ch, &d, false, w->f);
		if (rc == 0)
			tell_changed(&ch);
	}
	vm_disks_end(&ch);
	return rc;
}

static int
move_in(struct vhd_work *w, struct vm *vm, const struct vm_config *c, void *arg)
{
	const struct move *m = arg;
	int rc = 0;

	for (size_t i = 0; rc == 0 && may_name(w, c, m->was) && i < c->devices.disks; i++)
		if (strcmp(c->devices.disk[i].path, m->was) == 0)
			rc = move_one(w, vm, c->devices.disk[i].controller, c->devices.disk[i].lun, m);
	return rc;
}

int
vhd_move_disks(
    struct vhd_work *w, const char *was, enum vm_disk_format format, const char *const *path, size_t n)
{
	struct move m = { was, format, path, n };

	return each_machine(w, move_in, &m);
}

/* --- the tool ------------------------------------------------------------------------------------------- */

void
vhd_tool(const struct vhd_work *w, struct disk_tool *t, const char *command)
{
	disk_tool_begin(t, w->c->agent, command);
	disk_tool_add(t, "-f%s", image_format_word(w->format));
	disk_tool_write(t, w->whole);
	disk_tool_add(t, "%s", w->whole);
}

void
vhd_tell(const struct vhd_work *w, const char *path, const char *change)
{
	if (path[0] != '.')
		event_publish(
		    w->c->agent, "file.changed", json_pack("{s:s, s:s}", "path", path, "change", change));
}

/* The tool ends with the agent; a new image that it was making has another name until it is whole. */
void
vhd_undo(struct agent *a, json_t *params)
{
	const char *vm = json_string_value(json_object_get(params, "vm"));
	const char *path = json_string_value(json_object_get(params, "destination"));
	char name[VM_NAME_SIZE] = "", tidy[VM_DISK_PATH_SIZE], folder[PATH_MAX], whole[PATH_MAX];
	const struct disk_place at = { a->o.data, name };
	struct vm *found = vm ? inventory_find(a->machines, vm) : NULL;

	if (found)
		text_copy(name, sizeof(name), found->name);
	vm_put(found);
	if (!path)
		path = json_string_value(json_object_get(params, "path"));
	if (!path || (vm && !found) || disk_file_tidy(&at, path, tidy, sizeof(tidy), NULL) < 0 ||
	    tidy[0] == '/')
		return;
	image_folder(&at, tidy, folder);
	if ((size_t)snprintf(whole, sizeof(whole), "%s/.%s.new", folder, strrchr(tidy, '/') + 1) <
		sizeof(whole) &&
	    unlink(whole) == 0)
		log_msg(LOG_INFO, "%s: what was made of it when the agent ended is removed", path);
}
