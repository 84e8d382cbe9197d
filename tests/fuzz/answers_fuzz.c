/*
 * tests/fuzz/answers_fuzz.c - the input is the answer file of a silent installation. It is refused in a
 * sentence that a console may be sent, or everything in it is fit to be written to a disk, and means at most
 * one disk.
 */
#include <stdio.h>
#include <string.h>

#include "installer/answers.h"
#include "installer/disks.h"
#include "installer/password.h"
#include "lib/schema.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

/* In place of the real ones, by the linker's --wrap: they take a tenth of a second, which is their purpose.
 */
int __wrap_password_hash(const char *password, char *out, size_t size, struct err *e);
int __wrap_password_check_hash(const char *hash, struct err *e);

int
__wrap_password_hash(const char *password, char *out, size_t size, struct err *e)
{
	(void)e;
	must(strlen(password) >= PASSWORD_MIN && strlen(password) <= PASSWORD_MAX);
	snprintf(out, size, "$y$made");
	return 0;
}

int
__wrap_password_check_hash(const char *hash, struct err *e)
{
	return hash[0] == '$' && !strpbrk(hash, ":\n") ? 0 : err_set(e, 22, "not a hash");
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1);
	return 0;
}

static void
check_network(const struct answers *a)
{
	struct host_adapter_settings n = a->network;
	struct err e = { 0 };

	must(!a->name[0] || host_name_ok(a->name));
	must(!n.address[0] || host_address_check(&n, &e) == 0);
	must(n.address[0] || (!n.gateway[0] && n.dns_count == 0 && !a->adapter[0]));
	must(n.dns_count <= HOST_DNS);
}

static void
check_disk(const struct disk_filter *f)
{
	static const struct disk disks[] = {
		{ "vda", "/dev/vda", "QEMU", "LAB00001", 4ULL << 30, 512 },
		{ "sda", "/dev/sda", "Samsung SSD", "S4EW", 1ULL << 40, 4096 },
		{ "sdb", "/dev/sdb", "", "", 1ULL << 20, 512 },
		{ "sr0", "/dev/sr0", "QEMU DVD", "QM0001", 700 << 20, 2048, .read_only = true,
		    .medium = true },
	};
	const int n = sizeof(disks) / sizeof(disks[0]);
	struct err e = { 0 };
	int i = disks_choose(disks, (size_t)n, f, &e);

	must(!f->maximum || f->minimum <= f->maximum);
	must(i < n);
	must(i < 0 ? text_is_clean(e.msg, strlen(e.msg)) && e.msg[0] : disks_check(&disks[i], &e) == 0);
	must(i < 0 || (disks[i].size >= f->minimum && (!f->maximum || disks[i].size <= f->maximum)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct answers a;
	struct err e = { 0 };

	if (answers_read((const char *)data, size, &a, &e) < 0) {
		must(e.msg[0] && text_is_clean(e.msg, strlen(e.msg)));
		return 0;
	}
	must(a.hash[0] == '$' && !strpbrk(a.hash, ":\n"));
	must(a.finish == FINISH_RESTART || a.finish == FINISH_POWER_OFF);
	check_network(&a);
	check_disk(&a.disk);
	return 0;
}
