/*
 * tests/unit/acpi_test.c - the ACPI tables of machines, walked as a guest walks them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_boot.h"
#include "hypervisor/boot/acpi.h"

enum { TABLES_MAX = 16 };

/* What a guest finds. */
struct tables {
	size_t n;
	const uint8_t *at[TABLES_MAX];
	uint64_t lowest, highest;
};

static uint64_t
number(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

static uint8_t
sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len-- != 0)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint32_t
length(const uint8_t *table)
{
	return (uint32_t)number(table + 4, 4);
}

/* A table at gpa, which must lie in the room for tables, with a right checksum. */
static const uint8_t *
table_at(struct fake_boot *f, uint64_t gpa)
{
	const uint8_t *t = gmem_span(f->mem, gpa, 36);

	assert_non_null(t);
	assert_true(gpa >= MAP_TABLES && gpa + length(t) <= MAP_TABLES + MAP_TABLES_LEN);
	assert_true(length(t) >= 36);
	assert_int_equal(sum(t, length(t)), 0);
	return t;
}

static void
walk(struct fake_boot *f, struct tables *t)
{
	const uint8_t *rsdp = gmem_span(f->mem, MAP_TABLES, 36), *xsdt;

	memset(t, 0, sizeof(*t));
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, (size_t)number(rsdp + 20, 4)), 0);
	xsdt = table_at(f, number(rsdp + 24, 8));
	assert_memory_equal(xsdt, "XSDT", 4);
	t->n = (length(xsdt) - 36) / 8;
	assert_true(t->n <= TABLES_MAX);
	for (size_t i = 0; i < t->n; i++)
		t->at[i] = table_at(f, number(xsdt + 36 + i * 8, 8));
}

static size_t
count(const struct tables *t, const char *signature)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += memcmp(t->at[i], signature, 4) == 0;
	return n;
}

static const uint8_t *
find(const struct tables *t, const char *signature)
{
	for (size_t i = 0; i < t->n; i++)
		if (memcmp(t->at[i], signature, 4) == 0)
			return t->at[i];
	return NULL;
}

/* The n-th entry of a type in a table of {type, length, ...} entries that begin at `from`. */
static const uint8_t *
entry(const uint8_t *table, size_t from, unsigned type, unsigned n)
{
	for (size_t at = from; at < length(table); at += table[at + 1]) {
		assert_true(table[at + 1] >= 2 && at + table[at + 1] <= length(table));
		if (table[at] == type && n-- == 0)
			return table + at;
	}
	return NULL;
}

static void
make(struct fake_boot *f, struct tables *t, uint64_t processors, uint64_t mb)
{
	fake_boot_new(f, mb);
	f->m.processor.count = processors;
	if (t == NULL)
		return;
	assert_int_equal(boot_tables(&f->m, f->mem, &f->e), 0);
	walk(f, t);
}

static void
every_table_is_found_with_a_right_checksum(void **state)
{
	struct fake_boot f;
	struct tables t;

	(void)state;
	make(&f, &t, 1, 64);
	assert_int_equal(t.n, 3);
	assert_int_equal(count(&t, "FACP"), 1);
	assert_int_equal(count(&t, "APIC"), 1);
	assert_int_equal(count(&t, "SSDT"), 1);
	fake_boot_free(&f);
}

static void
the_fadt_says_what_the_ports_of_this_machine_are(void **state)
{
	struct fake_boot f;
	struct tables t;
	const uint8_t *fadt, *facs, *dsdt;

	(void)state;
	make(&f, &t, 1, 64);
	fadt = find(&t, "FACP");
	assert_int_equal(length(fadt), 276);
	assert_int_equal(fadt[8], 6);
	facs = gmem_span(f.mem, number(fadt + 36, 4), 64);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(number(fadt + 36, 4) % 64, 0);
	assert_int_equal(length(facs), 64);
	dsdt = table_at(&f, number(fadt + 140, 8));
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_int_equal(number(fadt + 40, 4), number(fadt + 140, 8));
	assert_int_equal(number(fadt + 46, 2), IRQ_SCI);
	assert_int_equal(number(fadt + 48, 4), 0); /* no SMI port: always ACPI mode */
	assert_int_equal(number(fadt + 56, 4), PORT_PM);
	assert_int_equal(number(fadt + 64, 4), PORT_PM + 4);
	assert_int_equal(number(fadt + 76, 4), PORT_PM + 8);
	assert_int_equal(number(fadt + 80, 4), PORT_PM + 12);
	assert_memory_equal(fadt + 88, "\4\2\0\4\2\0", 6);
	assert_int_equal(number(fadt + 109, 2), 4);                   /* no legacy devices, no 8042, no VGA */
	assert_int_equal(number(fadt + 112, 4) & (1 << 4), 0);        /* the power button is fixed hardware */
	assert_int_equal(number(fadt + 112, 4) & (1 << 20), 0);       /* not hardware-reduced */
	assert_int_equal(number(fadt + 112, 4) & (1 << 8), 1 << 8);   /* 32-bit timer */
	assert_int_equal(number(fadt + 112, 4) & (1 << 10), 1 << 10); /* reset register */
	assert_int_equal(fadt[116], 1);
	assert_int_equal(number(fadt + 120, 8), PORT_RESET);
	assert_int_equal(fadt[128], 6);
	/* The wide fields say the same. */
	assert_int_equal(number(fadt + 148 + 4, 8), PORT_PM);
	assert_int_equal(number(fadt + 172 + 4, 8), PORT_PM + 4);
	assert_int_equal(number(fadt + 208 + 4, 8), PORT_PM + 8);
	assert_int_equal(number(fadt + 220 + 4, 8), PORT_PM + 12);
	assert_int_equal(fadt[221], 16);
	fake_boot_free(&f);
}

static void
serial_ports_are_legacy_devices_and_facts(void **state)
{
	for (unsigned com = 0; com < 4; com++) {
		struct fake_boot f;
		struct tables t;
		struct acpi_facts facts;

		(void)state;
		make(&f, NULL, 1, 64);
		f.m.com[0] = com & 1;
		f.m.com[1] = com & 2;
		assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
		walk(&f, &t);
		assert_int_equal(number(find(&t, "FACP") + 109, 2) & 1, com != 0);
		assert_int_equal(gmem_read(f.mem, MAP_SHARED_PAGE + SHARED_FACTS, &facts, sizeof(facts)), 0);
		assert_int_equal(facts.com, com);
		fake_boot_free(&f);
	}
}

static void
the_facts_are_those_of_the_machine(void **state)
{
	struct fake_boot f;
	struct tables t;
	struct acpi_facts facts;

	(void)state;
	make(&f, &t, 5, 4096);
	assert_int_equal(gmem_read(f.mem, MAP_SHARED_PAGE + SHARED_FACTS, &facts, sizeof(facts)), 0);
	assert_int_equal(facts.processors, 5);
	assert_true(facts.vmbus_high == 0x140000000);
	assert_int_equal(facts.vmbus_high_len, 0x20000000);
	fake_boot_free(&f);
}

static void
the_madt_names_each_processor_and_the_wires(void **state)
{
	struct fake_boot f;
	struct tables t;
	const uint8_t *madt, *io, *sci, *nmi;

	(void)state;
	make(&f, NULL, 12, 64);
	f.m.processor.threads_per_core = 2;
	f.m.processor.cores_per_socket = 3;
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
	walk(&f, &t);
	madt = find(&t, "APIC");
	assert_int_equal(number(madt + 36, 4), MAP_LAPIC);
	assert_int_equal(number(madt + 40, 4), 0); /* no PIC */
	for (unsigned vp = 0; vp < 12; vp++) {
		const uint8_t *cpu = entry(madt, 44, 0, vp);

		assert_int_equal(cpu[1], 8);
		assert_int_equal(cpu[2], vp);
		assert_int_equal(cpu[3], machine_apic_id(&f.m, vp));
		assert_int_equal(number(cpu + 4, 4), 1);
	}
	assert_null(entry(madt, 44, 0, 12));
	io = entry(madt, 44, 1, 0);
	assert_int_equal(number(io + 4, 4), MAP_IOAPIC);
	assert_int_equal(number(io + 8, 4), 0);
	assert_null(entry(madt, 44, 1, 1));
	sci = entry(madt, 44, 2, 0);
	assert_int_equal(sci[3], IRQ_SCI);
	assert_int_equal(number(sci + 4, 4), IRQ_SCI);
	assert_int_equal(number(sci + 8, 2), 0xd);
	assert_null(entry(madt, 44, 2, 1));
	nmi = entry(madt, 44, 4, 0);
	assert_int_equal(nmi[2], 0xff);
	assert_int_equal(nmi[5], 1);
	fake_boot_free(&f);
}

/* As many tables of processor devices as it takes; sizes double, so at most half of the devices are absent.
 */
static void
processor_devices_reach_to_the_last_processor(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= MACHINE_MAX_PROCESSORS; n++) {
		unsigned want = 1, devices = 0;
		struct fake_boot f;
		struct tables t;

		for (unsigned first = 1; first < n; first *= 2)
			want++;
		make(&f, &t, n, 32);
		assert_int_equal(count(&t, "SSDT"), want);
		for (size_t i = 0; i < t.n; i++) {
			uint32_t len = memcmp(t.at[i], "SSDT", 4) == 0 ? length(t.at[i]) : 0;

			for (uint32_t at = 36; at + 8 < len; at++)
				devices += memcmp(t.at[i] + at, "ACPI0007", 8) == 0;
		}
		assert_true(devices >= n && devices < 2 * n);
		fake_boot_free(&f);
	}
}

static bool
has(const uint8_t *table, const char *text, size_t len)
{
	for (size_t at = 36; at + len <= length(table); at++)
		if (memcmp(table + at, text, len) == 0)
			return true;
	return false;
}

static void
the_dsdt_has_the_ids_that_guests_look_for(void **state)
{
	static const char *const ids[] = { "VMBus", "ACPI0004", "VM_Gen_Counter", "VM_GEN_COUNTER", "_S5_",
		"_E00", "VMOD", "VMBS", "ADDR" };
	struct fake_boot f;
	struct tables t;
	const uint8_t *dsdt;

	(void)state;
	make(&f, &t, 1, 64);
	dsdt = table_at(&f, number(find(&t, "FACP") + 140, 8));
	assert_int_equal(dsdt[8], 2); /* 64-bit integers */
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_true(has(dsdt, ids[i], strlen(ids[i])));
	assert_true(has(dsdt, "\x0c\x00\xf0\x0e\x00", 5)); /* MAP_SHARED_PAGE in ADDR */
	assert_true(has(dsdt, "\x41\xd0\x05\x01", 4));     /* PNP0501 */
	assert_true(has(dsdt, "\x41\xd0\x0b\x00", 4));     /* PNP0B00 */
	fake_boot_free(&f);
}

static const uint8_t *
check_memory(const uint8_t *srat, unsigned n, unsigned node, uint64_t base, uint64_t len, unsigned flags)
{
	const uint8_t *r = entry(srat, 48, 1, n);

	assert_non_null(r);
	assert_int_equal(r[1], 40);
	assert_int_equal(number(r + 2, 4), node);
	assert_true(number(r + 8, 8) == base);
	assert_true(number(r + 16, 8) == len);
	assert_int_equal(number(r + 28, 4), flags);
	return r;
}

static void
numa_nodes_split_memory_and_processors(void **state)
{
	const uint64_t gib = 0x40000000;
	struct fake_boot f;
	struct tables t;
	const uint8_t *srat, *slit;

	(void)state;
	make(&f, NULL, 3, 6144);
	f.m.memory.maximum_mb = 8192;
	f.m.nodes = 3;
	f.m.node[0] = (struct machine_node){ 2048, 1 };
	f.m.node[1] = (struct machine_node){ 2048, 1 }; /* reaches over the hole */
	f.m.node[2] = (struct machine_node){ 2048, 1 };
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
	walk(&f, &t);
	srat = find(&t, "SRAT");
	assert_int_equal(number(srat + 36, 4), 1);
	check_memory(srat, 0, 0, 0, 2 * gib, 1);
	check_memory(srat, 1, 1, 2 * gib, gib, 1);
	check_memory(srat, 2, 1, 4 * gib, gib, 1);
	check_memory(srat, 3, 2, 5 * gib, 2 * gib, 1);
	check_memory(srat, 4, 2, 7 * gib, 2 * gib, 3);
	assert_null(entry(srat, 48, 1, 5));
	for (unsigned vp = 0; vp < 3; vp++) {
		const uint8_t *cpu = entry(srat, 48, 0, vp);

		assert_int_equal(cpu[1], 16);
		assert_int_equal(cpu[2], vp);
		assert_int_equal(cpu[3], vp);
		assert_int_equal(number(cpu + 4, 4), 1);
	}
	slit = find(&t, "SLIT");
	assert_int_equal(length(slit), 36 + 8 + 9);
	assert_int_equal(number(slit + 36, 8), 3);
	assert_memory_equal(slit + 44, "\12\24\24\24\12\24\24\24\12", 9);
	fake_boot_free(&f);
}

static void
the_largest_machine_fits(void **state)
{
	struct fake_boot f;
	struct tables t;

	(void)state;
	make(&f, NULL, 64, 4096);
	f.m.memory.maximum_mb = MACHINE_MAX_MB;
	f.m.processor.threads_per_core = 2;
	f.m.processor.cores_per_socket = 1;
	f.m.nodes = MACHINE_MAX_NODES;
	for (size_t i = 0; i < MACHINE_MAX_NODES; i++)
		f.m.node[i] = (struct machine_node){ 4096 / MACHINE_MAX_NODES, 4 };
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
	walk(&f, &t);
	assert_int_equal(t.n, 2 + 2 + 7);
	assert_non_null(entry(find(&t, "SRAT"), 48, 0, 63));
	/* 16 nodes, one of them over no hole (3 GiB is a border), and the room to grow. */
	assert_non_null(entry(find(&t, "SRAT"), 48, 1, 16));
	assert_null(entry(find(&t, "SRAT"), 48, 1, 17));
	fake_boot_free(&f);
}

static void
the_generation_id_lies_at_the_start_of_the_shared_page(void **state)
{
	uint8_t seen[16], id[16] = "0123456789abcdef";
	struct fake_boot f;
	struct tables t;

	(void)state;
	make(&f, NULL, 1, 64);
	memcpy(f.m.generation_id, id, 16);
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
	walk(&f, &t);
	assert_int_equal(gmem_read(f.mem, MAP_SHARED_PAGE, seen, 16), 0);
	assert_memory_equal(seen, id, 16);
	id[0] = 'x';
	assert_int_equal(acpi_write_generation_id(f.mem, id, &f.e), 0);
	assert_int_equal(gmem_read(f.mem, MAP_SHARED_PAGE, seen, 16), 0);
	assert_memory_equal(seen, id, 16);
	walk(&f, &t);
	fake_boot_free(&f);
}

static void
a_machine_without_memory_is_an_error(void **state)
{
	struct fake_boot f;

	(void)state;
	memset(&f, 0, sizeof(f));
	machine_defaults(&f.m);
	f.m.memory.size_mb = 32;
	assert_int_equal(gmem_new(&f.mem, 0x100000, false, &f.e), 0);
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), -EFAULT);
	assert_int_equal(acpi_write(&f.m, f.mem, &f.e), -EFAULT);
	fake_boot_free(&f);
}

/* iasl reads every kind of table back without a complaint. */
static void
iasl_can_read_the_tables(void **state)
{
	char dir[] = "/tmp/acpi_test.XXXXXX", path[64], command[256];
	struct fake_boot f;
	struct tables t;

	(void)state;
	if (system("iasl -v >/dev/null 2>&1") != 0)
		skip();
	make(&f, NULL, 2, 64);
	f.m.nodes = 1;
	f.m.node[0] = (struct machine_node){ 64, 2 };
	assert_int_equal(boot_tables(&f.m, f.mem, &f.e), 0);
	walk(&f, &t);
	assert_non_null(mkdtemp(dir));
	t.at[t.n++] = table_at(&f, number(find(&t, "FACP") + 140, 8));
	for (size_t i = 0; i < t.n; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%zu.dat", dir, i);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(t.at[i], 1, length(t.at[i]), file), length(t.at[i]));
		fclose(file);
	}
	snprintf(command, sizeof(command),
	    "cd %s && iasl -d *.dat >log 2>&1 && ! grep -iE 'error|warning|invalid|unknown' log *.dsl", dir);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
	fake_boot_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_is_found_with_a_right_checksum),
		cmocka_unit_test(the_fadt_says_what_the_ports_of_this_machine_are),
		cmocka_unit_test(serial_ports_are_legacy_devices_and_facts),
		cmocka_unit_test(the_facts_are_those_of_the_machine),
		cmocka_unit_test(the_madt_names_each_processor_and_the_wires),
		cmocka_unit_test(processor_devices_reach_to_the_last_processor),
		cmocka_unit_test(the_dsdt_has_the_ids_that_guests_look_for),
		cmocka_unit_test(numa_nodes_split_memory_and_processors),
		cmocka_unit_test(the_largest_machine_fits),
		cmocka_unit_test(the_generation_id_lies_at_the_start_of_the_shared_page),
		cmocka_unit_test(a_machine_without_memory_is_an_error),
		cmocka_unit_test(iasl_can_read_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
