/*
 * tests/lab/guest/disk_io.c - random reads and writes past the page cache that know what they must find.
 *
 * Each thread has its own part of the disk and its own requests in flight (Linux's native asynchronous I/O),
 * on its own processor. Requests are 4 KiB to 1 MiB; none overlaps another in flight. What was acknowledged
 * is remembered by block and must be what a read finds, while running and at the end. A block whose write
 * failed is forgotten until it is written again.
 * SIGTERM ends it early, with the same checks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/guest/pattern.h"
#include "tests/lab/guest/tool.h"

enum {
	MIB = 1 << 20,
	REQUEST_BLOCKS = MIB / PATTERN_BLOCK,
	THREADS_MAX = 64,
	DEPTH_MAX = 256,
	SYNC_EACH = 64
};

enum kind { READ, WRITE, SYNC };

struct request {
	struct iocb cb;
	enum kind kind;
	uint32_t block, blocks; /* within the thread's part */
	uint64_t *data;
};

struct part {
	int fd;
	unsigned number, depth;
	uint64_t first; /* of the disk's blocks */
	uint32_t blocks;
	uint64_t *generation; /* last acknowledged; 0: not known */
	bool *busy;
	uint64_t writes; /* the last generation given out */
	uint64_t random;
	aio_context_t aio;
	struct request *request;
	pthread_t thread;
};

static struct {
	uint64_t operations; /* for each thread; 0: until the time is over */
	struct timespec until;
	atomic_ullong reads, written, syncs, bytes, failed, wrong;
	int error; /* of the last that failed */
	atomic_bool stop;
} all;

static uint64_t
draw(struct part *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random;
}

static void
wrong(const struct part *p, uint64_t block, uint64_t wanted, const uint64_t *found)
{
	if (atomic_fetch_add(&all.wrong, 1) < 5)
		printf("FH-IO-WRONG block %llu: wanted generation %llu, found %016llx %016llx %016llx\n",
		    (unsigned long long)(p->first + block), (unsigned long long)wanted,
		    (unsigned long long)found[0], (unsigned long long)found[1], (unsigned long long)found[2]);
}

static void
check_read(const struct part *p, uint32_t block, uint32_t blocks, const uint64_t *data)
{
	for (uint32_t i = 0; i < blocks; i++, data += PATTERN_WORDS) {
		uint64_t wanted = p->generation[block + i], generation;

		if (wanted && (pattern_check(data, p->first + block + i, &generation) != PATTERN_GOOD ||
				  generation != wanted))
			wrong(p, block + i, wanted, data);
	}
}

/* --- one request ------------------------------------------------------------------------------------ */

static bool
is_free(const struct part *p, uint32_t block, uint32_t blocks)
{
	return !memchr(p->busy + block, 1, blocks);
}

static void
prepare_write(struct part *p, struct request *r)
{
	p->writes++;
	for (uint32_t i = 0; i < r->blocks; i++) {
		pattern_fill(r->data + i * PATTERN_WORDS, p->first + r->block + i, p->writes);
		p->generation[r->block + i] = 0;
	}
}

static bool
choose(struct part *p, struct request *r)
{
	uint32_t most;

	if (draw(p) % SYNC_EACH == 0) {
		r->kind = SYNC;
		r->blocks = 0;
		return true;
	}
	for (int tries = 0; tries < 100; tries++) {
		most = 1u << draw(p) % 9;
		r->blocks = 1 + (uint32_t)(draw(p) % most);
		r->block = (uint32_t)(draw(p) % (p->blocks - r->blocks + 1));
		r->kind = draw(p) >> 40 & 1 ? READ : WRITE;
		if (is_free(p, r->block, r->blocks))
			return true;
	}
	return false;
}

static bool
send(struct part *p, struct request *r)
{
	static const uint16_t code[] = {
		[READ] = IOCB_CMD_PREAD, [WRITE] = IOCB_CMD_PWRITE, [SYNC] = IOCB_CMD_FDSYNC
	};
	struct iocb *cb = &r->cb;

	if (r->kind == WRITE)
		prepare_write(p, r);
	else if (r->kind == READ)
		memset(r->data, 0xa5, (size_t)r->blocks * 512); /* what is not read shows */
	memset(p->busy + r->block, true, r->blocks);
	*cb = (struct iocb){
		.aio_data = (uintptr_t)r, .aio_lio_opcode = code[r->kind], .aio_fildes = (uint32_t)p->fd
	};
	if (r->kind != SYNC) {
		cb->aio_buf = (uintptr_t)r->data;
		cb->aio_nbytes = (uint64_t)r->blocks * PATTERN_BLOCK;
		cb->aio_offset = (int64_t)((p->first + r->block) * PATTERN_BLOCK);
	}
	if (syscall(SYS_io_submit, p->aio, 1, &cb) == 1)
		return true;
	all.error = errno;
	all.failed++;
	memset(p->busy + r->block, false, r->blocks);
	return false;
}

static void
ended(struct part *p, struct request *r, int64_t result)
{
	bool good = result == (int64_t)r->blocks * PATTERN_BLOCK;

	memset(p->busy + r->block, false, r->blocks);
	if (!good) {
		all.error = result < 0 ? (int)-result : EIO;
		all.failed++;
		return;
	}
	all.bytes += (uint64_t)result;
	if (r->kind == SYNC) {
		all.syncs++;
	} else if (r->kind == READ) {
		all.reads++;
		check_read(p, r->block, r->blocks, r->data);
	} else {
		all.written++;
		for (uint32_t i = 0; i < r->blocks; i++)
			p->generation[r->block + i] = r->data[i * PATTERN_WORDS + 2];
	}
}

/* --- a thread --------------------------------------------------------------------------------------- */

static bool
goes_on(uint64_t sent)
{
	struct timespec t;

	if (all.stop)
		return false;
	if (all.operations)
		return sent < all.operations;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec < all.until.tv_sec || (t.tv_sec == all.until.tv_sec && t.tv_nsec < all.until.tv_nsec);
}

static void
pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *
work(void *arg)
{
	struct part *p = arg;
	struct request *idle[DEPTH_MAX];
	unsigned n = p->depth;
	uint64_t sent = 0;

	pin(p->number);
	for (unsigned i = 0; i < n; i++)
		idle[i] = &p->request[i];
	while (goes_on(sent) || n < p->depth) {
		struct io_event ev[DEPTH_MAX];
		long got;

		for (; n > 0 && goes_on(sent) && choose(p, idle[n - 1]); sent++)
			if (send(p, idle[n - 1]))
				n--;
		if (n == p->depth)
			continue;
		got = syscall(SYS_io_getevents, p->aio, 1, DEPTH_MAX, ev, NULL);
		for (long i = 0; i < got; i++) {
			struct request *r = (struct request *)(uintptr_t)ev[i].data;

			ended(p, r, ev[i].res);
			idle[n++] = r;
		}
	}
	return NULL;
}

/* What the part holds in the end, and its checksum. */
static uint64_t
final_check(struct part *p, uint64_t *blocks)
{
	uint64_t sum = 0;

	for (uint32_t b = 0; b < p->blocks; b += REQUEST_BLOCKS) {
		uint32_t n = p->blocks - b < REQUEST_BLOCKS ? p->blocks - b : REQUEST_BLOCKS;
		uint64_t *data = p->request[0].data;
		ssize_t len = (ssize_t)n * PATTERN_BLOCK;

		memset(data, 0xa5, (size_t)len);
		if (pread(p->fd, data, (size_t)len, (off_t)((p->first + b) * PATTERN_BLOCK)) != len) {
			all.error = errno;
			all.failed++;
			continue;
		}
		check_read(p, b, n, data);
		for (uint32_t i = 0; i < n; i++)
			if (p->generation[b + i]) {
				sum += pattern_sum(p->first + b + i, p->generation[b + i]);
				++*blocks;
			}
	}
	return sum;
}

static bool
part_init(struct part *p, int fd, unsigned number, unsigned depth, uint32_t blocks)
{
	uint64_t *data = mmap(
	    NULL, (size_t)depth * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*p = (struct part){ .fd = fd,
		.number = number,
		.depth = depth,
		.first = (uint64_t)number * blocks,
		.blocks = blocks,
		.random = 88172645463325252ull + number,
		.writes = __builtin_ia32_rdtsc()
			  << 16, /* what an earlier run has left is not taken for this one's */
		.generation = calloc(blocks, sizeof(*p->generation)),
		.busy = calloc(blocks, sizeof(*p->busy)),
		.request = calloc(depth, sizeof(*p->request)) };
	if (data == MAP_FAILED || !p->generation || !p->busy || !p->request ||
	    syscall(SYS_io_setup, depth, &p->aio) != 0)
		return false;
	for (unsigned i = 0; i < depth; i++)
		p->request[i].data = data + (size_t)i * MIB / 8;
	return true;
}

static void
say_progress(void)
{
	printf("FH-IO %llu operations, %llu failed, %llu wrong\n", all.reads + all.written + all.syncs,
	    all.failed, all.wrong);
}

static void
run(struct part *part, unsigned threads)
{
	struct timespec step = { .tv_nsec = 250000000 };

	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&part[i].thread, NULL, work, &part[i]) != 0)
			exit(1);
	/* A line every quarter of a second, so that whoever looks on knows that it is in the middle. */
	for (unsigned i = 0; i < threads; i++)
		while (pthread_tryjoin_np(part[i].thread, NULL) == EBUSY) {
			nanosleep(&step, NULL);
			say_progress();
		}
}

static void
stop(int signal_number)
{
	(void)signal_number;
	all.stop = true;
}

int
tool_io(char **args)
{
	static struct part part[THREADS_MAX];
	unsigned depth = (unsigned)atoi(args[2]), threads = (unsigned)atoi(args[3]);
	uint64_t amount = strtoull(args[4], NULL, 10), sum = 0, blocks = 0;
	uint32_t each;
	int fd = open(args[0], O_RDWR | O_DIRECT | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), want = (off_t)strtoull(args[1], NULL, 10) * MIB;

	size = want && want < size ? want : size;
	each = threads ? (uint32_t)(size / PATTERN_BLOCK / threads) : 0;
	if (depth < 1 || depth > DEPTH_MAX || threads < 1 || threads > THREADS_MAX || each < REQUEST_BLOCKS) {
		printf("FH-IO-END %s cannot be used\n", args[0]);
		return 1;
	}
	for (unsigned i = 0; i < threads; i++)
		if (!part_init(&part[i], fd, i, depth, each))
			return 1;
	signal(SIGTERM, stop);
	clock_gettime(CLOCK_MONOTONIC, &all.until);
	if (strchr(args[4], 's'))
		all.until.tv_sec += (time_t)amount;
	else
		all.operations = amount / threads + 1;
	run(part, threads);
	fsync(fd);
	for (unsigned i = 0; i < threads; i++)
		sum += final_check(&part[i], &blocks);
	printf("FH-IO-SUM %016llx of %llu blocks\n", (unsigned long long)sum, (unsigned long long)blocks);
	printf("FH-IO-END %llu reads, %llu writes, %llu flushes, %llu MiB, %llu failed, %llu wrong%s%s\n",
	    all.reads, all.written, all.syncs, all.bytes >> 20, all.failed, all.wrong, all.failed ? ": " : "",
	    all.failed ? strerror(all.error) : "");
	return all.wrong != 0;
}

/* Reads a disk, or the file below it, that io has written to: what is there, and the same checksum. */
int
tool_iocheck(char **args)
{
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	uint64_t *data = aligned_alloc(PATTERN_BLOCK, PATTERN_BLOCK), count[3] = { 0 }, sum = 0, generation;

	for (uint64_t n = 0; fd >= 0 && data && read(fd, data, PATTERN_BLOCK) == PATTERN_BLOCK; n++) {
		enum pattern_state s = pattern_check(data, n, &generation);

		count[s]++;
		if (s == PATTERN_GOOD)
			sum += pattern_sum(n, generation);
	}
	printf("FH-IO-CHECK %016llx of %llu blocks, %llu empty, %llu bad\n", (unsigned long long)sum,
	    (unsigned long long)count[PATTERN_GOOD], (unsigned long long)count[PATTERN_EMPTY],
	    (unsigned long long)count[PATTERN_BAD]);
	free(data);
	return 0;
}
