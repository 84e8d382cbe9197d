/* hypervisor/state/save.c - a whole machine to a stream, and back. */
#include "hypervisor/state/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/state/snap.h"
#include "hypervisor/state/stream.h"

#define MIB 0x100000ull

enum { FACTS_MAX = 8192, DEVICE_MAX = 65536 };

/* --- facts ------------------------------------------------------------------------------------- */

static void
facts_snap(struct saved_facts *f, struct snap *s)
{
	snap_u64(s, "configuration version", &f->version, UINT64_MAX);
	snap_bytes(s, "id", f->id, sizeof(f->id));
	snap_u64(s, "processors", &f->processors, MACHINE_MAX_PROCESSORS);
	snap_u64(s, "threads per core", &f->threads_per_core, 2);
	snap_u64(s, "cores per socket", &f->cores_per_socket, MACHINE_MAX_PROCESSORS);
	snap_u64(s, "memory", &f->memory_mb, UINT64_MAX / MIB);
	snap_u64(s, "maximum memory", &f->maximum_mb, UINT64_MAX / MIB);
	snap_u64(s, "added memory", &f->added, UINT64_MAX);
	snap_bytes(s, "serial ports", f->com, sizeof(f->com));
	snap_u32(s, "CPUID entries", &f->cpuid.n, CPUID_MAX);
	for (uint32_t i = 0; s->rc == 0 && i < f->cpuid.n; i++)
		snap_bytes(s, "CPUID entry", &f->cpuid.e[i], sizeof(f->cpuid.e[i]));
}

static void
facts_of(struct saved_facts *f, const struct machine *m)
{
	memset(f, 0, sizeof(*f));
	f->version = m->version;
	memcpy(f->id, m->id, sizeof(f->id));
	f->processors = m->processor.count;
	f->threads_per_core = m->processor.threads_per_core;
	f->cores_per_socket = m->processor.cores_per_socket;
	f->memory_mb = m->memory.size_mb;
	f->maximum_mb = m->memory.maximum_mb;
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		f->com[i] = m->com[i];
}

static int
save_facts(struct partition *p, int fd, struct err *e)
{
	struct saved_facts f;
	uint8_t buf[FACTS_MAX];
	struct snap s;

	facts_of(&f, p->machine);
	f.added = gmem_size(p->mem) - p->map.low_ram - p->map.high_ram;
	f.cpuid = p->cpuid;
	snap_save_to(&s, buf, sizeof(buf));
	facts_snap(&f, &s);
	if (snap_end(&s) < 0)
		return err_set(e, ENOSPC, "saved state: %s", s.err.msg);
	return stream_write(fd, SECTION_FACTS, buf, s.pos, NULL, 0, e);
}

static int
compare_facts(const struct saved_facts *saved, const struct machine *m, struct err *e)
{
	struct saved_facts now;
	const struct {
		const char *what;
		bool same;
	} rule[] = {
		{ "ConfigurationVersion", saved->version == m->version },
		{ "Id", memcmp(saved->id, m->id, sizeof(m->id)) == 0 },
		{ "Processor.Count", saved->processors == m->processor.count },
		{ "Processor.ThreadsPerCore", saved->threads_per_core == m->processor.threads_per_core },
		{ "Processor.CoresPerSocket", saved->cores_per_socket == m->processor.cores_per_socket },
		{ "Memory.SizeInMB", saved->memory_mb == m->memory.size_mb },
		{ "Memory.MaximumSizeInMB", saved->maximum_mb == m->memory.maximum_mb },
		{ "ComPorts", (facts_of(&now, m), memcmp(saved->com, now.com, sizeof(now.com)) == 0) },
	};

	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++)
		if (!rule[i].same)
			return err_set(
			    e, EINVAL, "saved state: %s is another than this machine's", rule[i].what);
	return 0;
}

int
saved_facts_read(struct saved_facts *f, const struct machine *m, int fd, struct err *e)
{
	uint8_t buf[FACTS_MAX];
	struct section sec = { 0 };
	struct snap s;
	int rc = stream_begin_read(fd, e);

	if (rc == 0)
		rc = stream_next(fd, &sec, e);
	if (rc < 0)
		return rc;
	if (sec.type != SECTION_FACTS || sec.len > sizeof(buf))
		return err_set(
		    e, EINVAL, "saved state: damaged (it does not begin with the machine's facts)");
	rc = stream_read(fd, buf, (size_t)sec.len, e);
	if (rc < 0)
		return rc;
	snap_restore_from(&s, buf, (size_t)sec.len);
	memset(f, 0, sizeof(*f));
	facts_snap(f, &s);
	if (snap_end(&s) < 0)
		return err_set(e, EINVAL, "saved state: facts: %s", s.err.msg);
	return compare_facts(f, m, e);
}

/* --- devices ------------------------------------------------------------------------------------- */

struct device_head {
	char name[16];
	uint32_t instance, version;
};

static int
save_device(struct device *d, int fd, struct err *e)
{
	struct device_head h = { .instance = d->instance, .version = d->ops->version };
	uint8_t buf[4096];
	long n = device_save(d, buf, sizeof(buf));

	strncpy(h.name, d->ops->name, sizeof(h.name) - 1);
	if (n < 0)
		return err_set(e, (int)-n, "%s: its state cannot be saved", d->ops->name);
	return stream_write(fd, SECTION_DEVICE, &h, sizeof(h), buf, (size_t)n, e);
}

static struct device *
find_device(struct partition *p, const struct device_head *h, unsigned *index)
{
	for (unsigned i = 0; i < p->devices; i++)
		if (strncmp(p->device[i]->ops->name, h->name, sizeof(h->name)) == 0 &&
		    p->device[i]->instance == h->instance) {
			*index = i;
			return p->device[i];
		}
	return NULL;
}

static int
restore_device(struct partition *p, const uint8_t *data, size_t len, unsigned *seen, struct err *e)
{
	struct device_head h;
	struct device *d;
	unsigned i;
	int rc;

	if (len < sizeof(h))
		return err_set(e, EINVAL, "saved state: damaged (a device of %zu bytes)", len);
	memcpy(&h, data, sizeof(h));
	h.name[sizeof(h.name) - 1] = '\0';
	d = find_device(p, &h, &i);
	if (!d)
		return err_set(e, EINVAL, "saved state: this machine has no device it was saved with");
	if (h.version != d->ops->version)
		return err_set(
		    e, ENOTSUP, "saved state: %s: version %u is not known here", d->ops->name, h.version);
	if (*seen & 1u << i)
		return err_set(e, EINVAL, "saved state: %s %u comes twice", d->ops->name, d->instance);
	rc = device_restore(d, data + sizeof(h), len - sizeof(h), e);
	*seen |= 1u << i;
	return rc < 0 ? err_wrap(e, rc, "saved state: %s %u", d->ops->name, d->instance) : 0;
}

/* --- memory -------------------------------------------------------------------------------------- */

static bool
zero_page(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, GMEM_PAGE - 1) == 0;
}

/* Writes the pages of host[0..len) that are not all zero, in runs. */
static int
save_stretch(const uint8_t *host, uint64_t gpa, uint64_t len, int fd, struct err *e)
{
	for (uint64_t at = 0; at < len;) {
		uint64_t run = at;

		while (run < len && run - at < SECTION_MEMORY_MAX && !zero_page(host + run))
			run += GMEM_PAGE;
		if (run > at) {
			uint64_t where = gpa + at;
			int rc = stream_write(
			    fd, SECTION_MEMORY, &where, sizeof(where), host + at, (size_t)(run - at), e);

			if (rc < 0)
				return rc;
			at = run;
		} else {
			at += GMEM_PAGE;
		}
	}
	return 0;
}

static int
save_memory(struct partition *p, int fd, struct err *e)
{
	uint64_t start, len;

	for (size_t i = 0; i < gmem_regions(p->mem); i++) {
		const struct gmem_region *r = gmem_region(p->mem, i);

		for (uint64_t at = 0; gmem_next_data(p->mem, i, at, &start, &len); at = start + len) {
			int rc = save_stretch(r->host + start, r->gpa + start, len, fd, e);

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int
restore_memory(struct partition *p, uint64_t section_len, int fd, struct err *e)
{
	uint64_t gpa, len = section_len - sizeof(gpa);
	void *host;
	int rc;

	if (section_len <= sizeof(gpa) || len > SECTION_MEMORY_MAX || len % GMEM_PAGE)
		return err_set(e, EINVAL, "saved state: damaged (memory of %llu bytes)",
		    (unsigned long long)section_len);
	rc = stream_read(fd, &gpa, sizeof(gpa), e);
	if (rc < 0)
		return rc;
	host = gpa % GMEM_PAGE ? NULL : gmem_span(p->mem, gpa, (size_t)len);
	if (!host)
		return err_set(
		    e, EINVAL, "saved state: memory at %#llx is not this machine's", (unsigned long long)gpa);
	rc = stream_read(fd, host, (size_t)len, e);
	gmem_dirty(p->mem, gpa, len);
	return rc;
}

/* --- the whole ------------------------------------------------------------------------------------ */

static int
save_processors(struct partition *p, int fd, struct err *e)
{
	void *buf;
	size_t len;
	int rc = partition_save_state(p, &buf, &len, e);

	if (rc < 0)
		return rc;
	rc = stream_write(fd, SECTION_PROCESSORS, buf, len, NULL, 0, e);
	free(buf);
	return rc;
}

static int
save_bus(struct partition *p, int fd, struct err *e)
{
	size_t cap = vmbus_state_max(p->vmbus);
	uint8_t *buf = malloc(cap);
	long n = buf ? vmbus_save(p->vmbus, buf, cap) : -ENOMEM;
	int rc = n < 0 ? err_set(e, (int)-n, "VMBus: its state cannot be saved")
		       : stream_write(fd, SECTION_VMBUS, buf, (size_t)n, NULL, 0, e);

	free(buf);
	return rc;
}

int
machine_save(struct partition *p, int fd, struct err *e)
{
	int rc = stream_begin_write(fd, e);

	if (rc == 0)
		rc = save_facts(p, fd, e);
	if (rc == 0)
		rc = save_memory(p, fd, e);
	/* Devices come after the clock, for what they do when they are restored depends on the time; and
	 * after the interrupt controllers, whose lines they raise. */
	if (rc == 0)
		rc = save_processors(p, fd, e);
	for (unsigned i = 0; rc == 0 && i < p->devices; i++)
		rc = save_device(p->device[i], fd, e);
	if (rc == 0)
		rc = save_bus(p, fd, e);
	if (rc == 0)
		rc = stream_write(fd, SECTION_END, NULL, 0, NULL, 0, e);
	return rc;
}

/* What has come so far. */
struct progress {
	unsigned devices; /* bits, in the order of the partition's devices */
	bool processors, bus;
};

static int
restore_processors(struct partition *p, const uint8_t *buf, size_t len, struct progress *seen, struct err *e)
{
	int rc = partition_restore_state(p, buf, len, e);

	seen->processors = true;
	return rc < 0 ? err_wrap(e, rc, "saved state") : 0;
}

static int
restore_bus(struct partition *p, const uint8_t *buf, size_t len, struct progress *seen, struct err *e)
{
	int rc = vmbus_restore(p->vmbus, buf, len, e);

	seen->bus = true;
	return rc < 0 ? err_wrap(e, rc, "saved state: VMBus") : 0;
}

static int
restore_held(
    struct partition *p, uint32_t type, const uint8_t *buf, size_t len, struct progress *seen, struct err *e)
{
	if (type == SECTION_DEVICE)
		return restore_device(p, buf, len, &seen->devices, e);
	if (type == SECTION_VMBUS)
		return restore_bus(p, buf, len, seen, e);
	return restore_processors(p, buf, len, seen, e);
}

/* Sections that are held in memory whole before they are used. */
static int
restore_section(struct partition *p, const struct section *s, int fd, struct progress *seen, struct err *e)
{
	uint8_t *buf;
	int rc;

	if (s->type == SECTION_DEVICE && s->len > DEVICE_MAX)
		return err_set(
		    e, EINVAL, "saved state: damaged (a device of %llu bytes)", (unsigned long long)s->len);
	if ((s->type == SECTION_PROCESSORS) == seen->processors)
		return err_set(e, EINVAL, "saved state: damaged (%s)",
		    seen->processors ? "processors come twice" : "a device comes before its clock");
	if (s->type == SECTION_VMBUS && seen->bus)
		return err_set(e, EINVAL, "saved state: damaged (the bus comes twice)");
	buf = malloc((size_t)s->len + 1);
	if (!buf)
		return err_set(e, ENOMEM, "saved state: out of memory");
	rc = stream_read(fd, buf, (size_t)s->len, e);
	if (rc == 0)
		rc = restore_held(p, s->type, buf, (size_t)s->len, seen, e);
	free(buf);
	return rc;
}

static int
complete(const struct partition *p, const struct progress *seen, struct err *e)
{
	const char *missing = NULL;

	if (!seen->processors)
		missing = "processors are";
	else if (seen->devices != (1u << p->devices) - 1)
		missing = "a device is";
	else if (!seen->bus)
		missing = "the bus is";
	return missing ? err_set(e, EINVAL, "saved state: incomplete: %s missing", missing) : 0;
}

int
machine_restore(struct partition *p, const struct saved_facts *f, int fd, struct err *e)
{
	struct progress seen = { 0 };
	uint64_t gpa;
	int rc = f->added ? partition_add_memory(p, f->added, &gpa, e) : 0;

	while (rc == 0) {
		struct section s;

		rc = stream_next(fd, &s, e);
		if (rc < 0)
			break;
		if (s.type == SECTION_END && s.len == 0)
			break;
		if (s.type == SECTION_MEMORY)
			rc = restore_memory(p, s.len, fd, e);
		else if (s.type == SECTION_DEVICE || s.type == SECTION_PROCESSORS || s.type == SECTION_VMBUS)
			rc = restore_section(p, &s, fd, &seen, e);
		else
			rc = err_set(e, EINVAL, "saved state: damaged (a section of type %u)", s.type);
	}
	if (rc == 0)
		rc = complete(p, &seen, e);
	if (rc == 0)
		vmbus_restored(p->vmbus);
	return rc;
}
