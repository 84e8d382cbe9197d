/*
 * tests/fuzz/vm_config_fuzz.c - the input is a vm.json, as somebody may have edited it. Whatever it is, it is
 * refused in words, or what is written of it reads the same, and a worker takes what it is told of it.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/vm_config.h"
#include "hypervisor/core/machine.h"
#include "tests/fuzz/fuzz.h"

static int file;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1); /* an input takes the same path every time */
	file = memfd_create("file", MFD_CLOEXEC);
	must(file >= 0);
	return 0;
}

static void
check_written(const struct vm_config *c)
{
	static struct vm_config again;
	struct err e = { 0 };
	json_t *doc = vm_config_write(c);

	must(doc && vm_config_read(&again, doc, &e) == 0);
	must(memcmp(c, &again, sizeof(again)) == 0);
	json_decref(doc);
}

static void
check_worker(struct vm_config *c)
{
	static struct machine m;
	int fd[2] = { dup(file), dup(file) };
	struct fd_set_in fds = { fd, 2 };
	struct err e = { 0 };
	json_t *params;

	if (!c->name[0])
		c->name[0] = 'x'; /* the folder's name will be there */
	params = vm_config_worker(c);
	must(machine_read(&m, json_object_get(params, "Machine"), &fds, &e) == 0);
	must(m.processor.count == c->processor.count && m.memory.size_mb == c->memory.size_mb);
	must((m.direct.initrd_fd >= 0) == (c->direct.initrd[0] != '\0'));
	must(m.scsi_controllers == c->devices.controllers);
	machine_close(&m);
	json_decref(params);
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* Each disk at a place of its own, in their order, and what the worker is told of it. */
static void
check_disks(struct vm_config *c)
{
	for (size_t i = 0; i < c->devices.disks; i++) {
		struct vm_disk *d = &c->devices.disk[i];
		const char *path[VM_CHAIN_MAX];
		size_t n = vm_config_parents(c, d->controller, d->lun, path);
		json_t *params = vm_disk_worker(d, n);

		must(params && vm_config_disk(c, d->controller, d->lun) == d);
		must((json_object_get(params, "File") != NULL) == (d->path[0] != '\0'));
		must(d->controller < c->devices.controllers);
		must(json_array_size(json_object_get(params, "Parents")) == n &&
		     (n == 0 || d->format != VM_RAW));
		must(d->parents == NULL);
		must(i == 0 || d->controller > d[-1].controller || d->lun > d[-1].lun);
		json_decref(params);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_config c;
	struct err e = { 0 };
	json_t *doc = schema_parse((const char *)data, size, &e);

	if (doc && vm_config_read(&c, doc, &e) == 0) {
		check_written(&c);
		(void)vm_name_check(c.name, &e);
		check_worker(&c);
		check_disks(&c);
	} else {
		must(e.code != 0 && e.msg[0] != '\0');
	}
	json_decref(doc);
	return 0;
}
