/* agent/methods_file.c - what can be asked about the files that users keep on the data disk: one table. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/inventory.h"
#include "agent/method.h"
#include "agent/uploads.h"
#include "agent/vm_disks.h"

enum { FILES_MAX = 5000, FOLDER_SIZE = 256 };

struct file_params {
	char folder[FOLDER_SIZE], path[VM_PATH_SIZE];
	uint64_t size;
	bool overwrite;
};
struct file_row {
	char name[256], path[VM_PATH_SIZE], modified[32];
	uint64_t size;
};
struct file_result {
	size_t files;
	struct file_row file;
	char ticket[TICKET_SIZE], path[TICKET_SIZE + 16];
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1

static const struct field list_params[] = {
	{ "folder", TEXT(file_params, folder), .min = 1, .unit = "path", .help = "images, or a folder below it." },
	{ 0 }
};
static const struct field upload_params[] = {
	{ "path", TEXT(file_params, path), .min = 1, .required = true, .unit = "path", .help = "Where it is to be: images/NAME, or in a folder there." },
	{ "size", FIELD_UINT, FIELD_AT(file_params, size), .min = 1, .max = INT64_MAX, .required = true, .unit = "bytes",
	  .help = "How many bytes will come, exactly." },
	{ "overwrite", FIELD_BOOL, FIELD_AT(file_params, overwrite), .help = "Put it in the place of a file that is there." },
	{ 0 }
};
static const struct field delete_params[] = {
	{ "path", TEXT(file_params, path), .min = 1, .required = true, .unit = "path", .help = "The file: images/NAME, or in a folder there." },
	{ 0 }
};
static const struct field row_fields[] = {
	{ "name", TEXT(file_row, name), .help = "Its name." },
	{ "path", TEXT(file_row, path), .unit = "path", .help = "What a machine's kernel, initrd, disk or DVD is set to." },
	{ "size", FIELD_UINT, FIELD_AT(file_row, size), .max = INT64_MAX, .unit = "bytes", .help = "Its size." },
	{ "modified", TEXT(file_row, modified), .unit = "time", .help = "When it was written last." },
	{ 0 }
};
static const struct field list_result[] = {
	{ "files", FIELD_LIST, FIELD_AT(file_result, file), .max = FILES_MAX, .size = sizeof(struct file_row),
	  .count_offset = offsetof(struct file_result, files), .fields = row_fields, .help = "The files, by name." },
	{ 0 }
};
static const struct field upload_result[] = {
	{ "ticket", TEXT(file_result, ticket), .help = "To be shown once, within 30 seconds." },
	{ "path", TEXT(file_result, path), .help = "Where the stream is: /stream/TICKET." },
	{ 0 }
};
/* clang-format on */

static void
defaults(void *params)
{
	memcpy(((struct file_params *)params)->folder, "images", sizeof("images"));
}

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

static int
do_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct file_params *p = params;
	struct err e = { 0 };
	json_t *list = file_list(c->agent->o.data, p->folder, &e);

	if (!list)
		return fault_err(
		    f, e.code == EINVAL ? FAULT_BAD_PARAMS : FAULT_FOLDER_NOT_FOUND, "folder", NULL, &e);
	return json_object_set_new(result, "files", list) < 0 ? no_memory(f) : 0;
}

/* The short form of p->path. */
static int
tidy(const struct call *c, const struct file_params *p, char out[VM_PATH_SIZE], struct fault *f)
{
	struct err e = { 0 };

	if (file_image_path(c->agent->o.data, p->path, out, VM_PATH_SIZE, &e) < 0)
		return fault_err(f, FAULT_FILE_BAD, "path", NULL, &e);
	return 0;
}

/* --- upload
 * --------------------------------------------------------------------------------------------------- */

static int
do_upload(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct file_params *p = params;
	char path[VM_PATH_SIZE], ticket[TICKET_SIZE], where[TICKET_SIZE + 16];
	const struct upload_plan plan = { .path = path, .size = p->size, .overwrite = p->overwrite };
	struct err e = { 0 };
	int fd = -1, rc = tidy(c, p, path, f);

	if (rc == 0)
		rc = uploads_check(c->agent->uploads, &plan, f);
	if (rc < 0 || call_would(c, "upload %llu bytes to %s", (unsigned long long)p->size, path))
		return rc;
	rc = uploads_begin(c->agent->uploads, &plan, c->who, &fd, f);
	if (rc < 0)
		return rc;
	if (ticket_new(c, fd, ticket, &e) < 0)
		return fault_err(f, FAULT_LIMIT, NULL, NULL, &e);
	snprintf(where, sizeof(where), "/stream/%s", ticket);
	if (json_object_set_new(result, "ticket", json_string(ticket)) < 0 ||
	    json_object_set_new(result, "path", json_string(where)) < 0)
		return no_memory(f);
	return 0;
}

/* --- delete
 * --------------------------------------------------------------------------------------------------- */

static const char *
disk_use(const struct call *c, struct vm *vm, const struct stat *file, char words[VM_DISK_WORDS])
{
	struct vm_config *config = malloc(sizeof(*config));
	const char *use = NULL;

	if (!config)
		return "disk, perhaps,"; /* better not deleted */
	pthread_mutex_lock(&vm->lock);
	*config = vm->config;
	pthread_mutex_unlock(&vm->lock);
	if (vm_disk_of_file(c->agent->machines, config, file, words))
		use = words;
	free(config);
	return use;
}

/* Does that machine's document lead to this very file, by whatever name? What for, or NULL. */
static const char *
use_of(const struct call *c, struct vm *vm, const struct stat *file, char name[VM_NAME_SIZE],
    char words[VM_DISK_WORDS])
{
	static const char *const what[] = { "kernel", "initial RAM disk" };
	char path[2][VM_PATH_SIZE];
	const char *use = NULL;

	inventory_refresh(c->agent->machines, vm);
	pthread_mutex_lock(&vm->lock);
	memcpy(name, vm->name, VM_NAME_SIZE);
	memcpy(path[0], vm->config.direct.kernel, VM_PATH_SIZE);
	memcpy(path[1], vm->config.direct.initrd, VM_PATH_SIZE);
	pthread_mutex_unlock(&vm->lock);
	for (int i = 0; i < 2 && !use; i++) {
		struct err e = { 0 };
		int fd = path[i][0] ? file_open_image(c->agent->o.data, name, path[i], &e) : -1;
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			use = what[i];
		if (fd >= 0)
			close(fd);
	}
	return use ? use : disk_use(c, vm, file, words);
}

static int
check_unused(const struct call *c, const char *path, const struct stat *file, struct fault *f)
{
	struct vm **all;
	size_t n = inventory_all(c->agent->machines, &all);
	int rc = all ? 0 : no_memory(f);

	for (size_t i = 0; all && i < n; i++) {
		char name[VM_NAME_SIZE], words[VM_DISK_WORDS];
		const char *use = rc == 0 ? use_of(c, all[i], file, name, words) : NULL;

		if (use)
			rc = fault_set(f, FAULT_FILE_IN_USE, "path",
			    "give the machine another one first, or remove it there: vm.set, disk.remove, "
			    "dvd.set",
			    "%s is the %s of '%s'", path, use, name);
		vm_put(all[i]);
	}
	free(all);
	return rc;
}

static int
storage_fault(struct fault *f, const char *path)
{
	return fault_set(f, FAULT_STORAGE, NULL, NULL, "%s: %s", path, strerror(errno));
}

static int
remove_file(struct call *c, int folder, const char *name, const char *path, struct fault *f)
{
	struct stat st;
	int rc;

	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? fault_set(f, FAULT_FILE_NOT_FOUND, "path",
					     "file.list shows what there is", "there is no file %s", path)
				       : storage_fault(f, path);
	if (!S_ISREG(st.st_mode))
		return fault_set(f, FAULT_FILE_BAD, "path", NULL, "%s is not a file", path);
	rc = check_unused(c, path, &st, f);
	if (rc < 0 || call_would(c, "delete %s", path))
		return rc;
	if (unlinkat(folder, name, 0) < 0 || fsync(folder) < 0)
		return storage_fault(f, path);
	event_publish(c->agent, "file.changed", json_pack("{s:s, s:s}", "path", path, "change", "deleted"));
	return 0;
}

static int
do_delete(struct call *c, const void *params, json_t *result, struct fault *f)
{
	char path[VM_PATH_SIZE];
	const char *name;
	struct err e = { 0 };
	int folder, rc = tidy(c, params, path, f);

	(void)result;
	if (rc < 0)
		return rc;
	folder = file_open_folder(c->agent->o.data, path, &name, &e);
	if (folder < 0)
		return fault_err(f,
		    e.code == ENOENT || e.code == ENOTDIR ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD, "path",
		    "file.list shows what there is", &e);
	rc = remove_file(c, folder, name, path, f);
	close(folder);
	return rc;
}

/* --- the table
 * ------------------------------------------------------------------------------------------------ */

#define FAULTS(...)                     \
	(const enum fault_code[])       \
	{                               \
		__VA_ARGS__, FAULT_NONE \
	}
#define PARAMS(table) .params = table, .params_size = sizeof(struct file_params), .defaults = defaults

/* clang-format off */
const struct rpc_method methods_file[] = {
	{ .name = "file.list", .help = "Files on the data disk that machines can be given: kernels, initial RAM disks, images.", .path = "/",
	  .role = ROLE_VIEWER, PARAMS(list_params), .result = list_result, .faults = FAULTS(FAULT_FOLDER_NOT_FOUND),
	  .example = "file.list{folder=\"images\"}", .call = do_list },
	{ .name = "file.upload", .help = "A stream that takes a file's bytes. When all have come, and are on the disk in their place, one line comes "
	      "back: {\"result\": {path, size, sha256}} or {\"error\": ...}. What is broken off leaves nothing.",
	  .path = "/", .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES, PARAMS(upload_params), .result = upload_result,
	  .faults = FAULTS(FAULT_FILE_BAD, FAULT_FILE_EXISTS, FAULT_FILE_IN_USE, FAULT_FOLDER_NOT_FOUND, FAULT_NO_SPACE, FAULT_STORAGE, FAULT_LIMIT,
	      FAULT_STOPPING, FAULT_UPLOAD_WRONG_SIZE),
	  .example = "file.upload(\"/boot/vmlinuz\", \"images/vmlinuz\")", .call = do_upload },
	{ .name = "file.delete", .help = "Deletes a file that no machine's settings name.", .path = "/", .role = ROLE_ADMINISTRATOR,
	  .flags = METHOD_CHANGES | METHOD_DESTRUCTIVE, PARAMS(delete_params),
	  .faults = FAULTS(FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_FILE_IN_USE, FAULT_STORAGE),
	  .example = "file.delete{path=\"images/old.iso\", confirm=true}", .call = do_delete },
	{ 0 }
};
/* clang-format on */
