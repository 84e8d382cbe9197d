/*
 * tests/lab/hostile/kernel.c - a guest that does all it can to end its worker: ports, memory that is not
 * there, MSRs, hypercalls, the SynIC, string instructions, and VMBus with every device on it (vmbus.c), from
 * a seeded generator, on two processors.
 *
 * On COM1 it says HK-READY, reads a line "SEED OPERATIONS", then says "HK n" now and again, with "HK-BUS"
 * (vmbus.h), and at last "HK-DONE", with operations, faults and interrupts of each processor, and switches
 * itself off. Seed 0: reports panics instead. What ends a machine (reset, triple fault, INIT, ...) it does
 * seldom: whoever looks on starts it anew with another seed. A stray write can hit the kernel itself; that,
 * too, looks like a reset or a hang.
 */
#include "tests/lab/hostile/kernel.h"

#include "tests/lab/hostile/vmbus.h"

enum { COM1 = 0x3f8, STACK = 16384, SAY_EVERY = 500 };

#ifdef __x86_64__
#define STACK_POINTER "rsp"
#else
#define STACK_POINTER "esp"
#endif

extern char gates[], stacks[], idt[];
void kernel_main(unsigned cpu);
void kernel_fatal(unsigned long vector, unsigned long at);

static volatile unsigned done, second_up;
static volatile uint32_t operations[2];

static struct cpu *
cpu_self(void)
{
	unsigned long sp;

	__asm__ volatile("mov %%" STACK_POINTER ", %0" : "=r"(sp));
	return (struct cpu *)(sp & ~(unsigned long)(STACK - 1));
}

/* --- random numbers ------------------------------------------------------------------------------------ */

uint32_t
rnd(struct cpu *c) /* xoshiro128++ */
{
	uint32_t *s = c->random, sum = s[0] + s[3], r = (sum << 7 | sum >> 25) + s[0], t = s[1] << 9;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 11 | s[3] >> 21;
	return r;
}

uint32_t
below(struct cpu *c, uint32_t n)
{
	return (uint32_t)((uint64_t)rnd(c) * n >> 32);
}

static void
seed(struct cpu *c, uint32_t s)
{
	for (int i = 0; i < 4; i++)
		c->random[i] = s = s * 1664525 + 1013904223 + (uint32_t)i + c->number * 77;
	for (int i = 0; i < 16; i++)
		rnd(c);
}

/* Numbers that are interesting, or not. */
uint64_t
value(struct cpu *c)
{
	uint64_t v = (uint64_t)rnd(c) << 32 | rnd(c);

	switch (below(c, 8)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return 1ull << below(c, 64);
	case 3:
		return (1ull << below(c, 64)) - 1;
	case 4:
		return v & 0xff;
	case 5:
		return v & 0xffffffff;
	default:
		return v;
	}
}

/* A guest physical address: mostly scratch, where what the host writes does no harm to us. */
static uint64_t
address(struct cpu *c)
{
	static const uint32_t places[] = { 0xa0000, 0xe0000, 0x04000000, 0x80000000, 0xbffff000, 0xc0000000,
		0xe0000000, 0xf0000000, 0xf7fff000, 0xfec00000, 0xfee00000, 0xfeffc000, 0xff000000,
		0xfffff000 };

	switch (below(c, 10)) {
	case 0:
		return value(c);
	case 1:
		return 0x100000000ull + value(c) % (1ull << 36);
	case 2:
	case 3:
		return places[below(c, sizeof(places) / sizeof(places[0]))] + below(c, 0x2000);
	default:
		return SCRATCH + below(c, SCRATCH_END - SCRATCH - 0x10000);
	}
}

/* Where nobody is: memory-mapped I/O, or an interrupt controller. */
static unsigned long
hole(struct cpu *c)
{
	static const uint32_t windows[] = { 0x04000000, 0x80000000, 0xc0000000, 0xe0000000, 0xf0000000,
		0xf7ff0000, 0xfec00000, 0xfed00000, 0xfee00000, 0xfeff0000, 0xff000000, 0xfffe0000 };
	uint32_t window = windows[below(c, sizeof(windows) / sizeof(windows[0]))];

#ifdef __x86_64__
	if (below(c, 4) == 0)
		return 0x100000000ul + value(c) % 0xf00000000ul;
#endif
	/* The interrupt command register of the APIC is for seldom(). */
	window += below(c, 0x10000);
	return (window & 0xffffff00) == 0xfee00300 ? 0xfee00020 : window;
}

/* --- the console -------------------------------------------------------------------------------------------
 */

static void
outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static uint8_t
inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void
console_sane(void)
{
	static const uint8_t set[][2] = { { 3, 3 }, { 1, 0 }, { 2, 7 }, { 4, 3 } };

	for (int i = 0; i < 4; i++)
		outb((uint16_t)(COM1 + set[i][0]), set[i][1]);
}

void
say(const char *s)
{
	for (; *s; s++)
		outb(COM1, (uint8_t)*s);
}

void
say_number(unsigned long v)
{
	char text[24], *at = text + sizeof(text) - 1;
	uint32_t n = (uint32_t)v;

	*at = '\0';
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	say(" ");
	say(at);
}

static uint32_t
read_number(void)
{
	uint32_t n = 0;
	uint8_t ch;

	for (;;) {
		while (!(inb(COM1 + 5) & 1))
			__asm__ volatile("pause");
		ch = inb(COM1);
		if (ch < '0' || ch > '9')
			return n;
		n = n * 10 + ch - '0';
	}
}

/* --- what is tried
 * -------------------------------------------------------------------------------------------- */

static uint16_t
port(struct cpu *c)
{
	static const uint16_t known[] = { 0x20, 0x40, 0x60, 0x70, 0x80, 0x90, 0xa0, 0x2f8, 0x3f8, 0x400,
		0x404, 0x408, 0x40c, 0x4d0, 0xcf8, 0xcfc, 0xfff8 };

	return (
	    uint16_t)(below(c, 3) ? known[below(c, sizeof(known) / sizeof(known[0]))] + below(c, 8) : rnd(c));
}

/* Whether writing there can end the machine. */
static bool
ends(uint16_t p)
{
	static const uint16_t last[] = { 0x64, 0x92, 0x405, 0xcf9 };

	for (unsigned i = 0; i < 4; i++)
		if (p <= last[i] && p + 4 > last[i])
			return true;
	return false;
}

static void
try_port(struct cpu *c)
{
	uint16_t p = port(c);
	uint32_t v = (uint32_t)value(c);

	if (rnd(c) & 1 || ends(p))
		switch (below(c, 3)) {
		case 0:
			__asm__ volatile("inb %1, %%al" : "=a"(v) : "d"(p));
			break;
		case 1:
			__asm__ volatile("inw %1, %%ax" : "=a"(v) : "d"(p));
			break;
		default:
			__asm__ volatile("inl %1, %%eax" : "=a"(v) : "d"(p));
		}
	else
		switch (below(c, 3)) {
		case 0:
			__asm__ volatile("outb %%al, %1" : : "a"(v), "d"(p));
			break;
		case 1:
			__asm__ volatile("outw %%ax, %1" : : "a"(v), "d"(p));
			break;
		default:
			__asm__ volatile("outl %%eax, %1" : : "a"(v), "d"(p));
		}
}

#define STRING(op, reg) GUARDED(c, op, OUT(reg(at), "+c"(n)), "d"(p))

static void
try_string(struct cpu *c)
{
	unsigned long at = below(c, 8) ? SCRATCH + below(c, 0x100000) : hole(c),
		      n = below(c, below(c, 16) ? 40 : 3000);
	uint16_t p = port(c);
	bool down = below(c, 4) == 0;

	if (down)
		__asm__ volatile("std");
	switch (below(c, ends(p) ? 3 : 6)) {
	case 0:
		STRING("rep insb", "+D");
		break;
	case 1:
		STRING("rep insw", "+D");
		break;
	case 2:
		STRING("rep insl", "+D");
		break;
	case 3:
		STRING("rep outsb", "+S");
		break;
	case 4:
		STRING("rep outsw", "+S");
		break;
	default:
		STRING("rep outsl", "+S");
	}
	__asm__ volatile("cld");
}

static void
try_hole(struct cpu *c)
{
	unsigned long at = hole(c), other = rnd(c) & 1 ? hole(c) : SCRATCH + below(c, 0x100000),
		      n = below(c, 20);
	unsigned long v = (unsigned long)value(c);

	switch (below(c, 14)) {
	case 0:
		GUARDED(c, "movb (%[p]), %b[v]", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 1:
		GUARDED(c, "movw (%[p]), %w[v]", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 2:
		GUARDED(c, "movl (%[p]), %k[v]", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 3:
		GUARDED(c, "mov (%[p]), %[v]", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 4:
		GUARDED(c, "movb %b[v], (%[p])", , [v] "q"(v), [p] "r"(at));
		break;
	case 5:
		GUARDED(c, "movw %w[v], (%[p])", , [v] "q"(v), [p] "r"(at));
		break;
	case 6:
		GUARDED(c, "movl %k[v], (%[p])", , [v] "q"(v), [p] "r"(at));
		break;
	case 7:
		GUARDED(c, "mov %[v], (%[p])", , [v] "q"(v), [p] "r"(at));
		break;
	case 8:
		GUARDED(c, "xchg %k[v], (%[p])", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 9:
		GUARDED(c, "lock xaddl %k[v], (%[p])", OUT([v] "+q"(v)), [p] "r"(at));
		break;
	case 10:
		GUARDED(c, "orl %k[v], (%[p])", , [v] "q"(v), [p] "r"(at));
		break;
	case 11:
		GUARDED(c, "rep movsb", OUT("+S"(at), "+D"(other), "+c"(n)), "m"(n));
		break;
	case 12:
		GUARDED(c, "rep stosl", OUT("+D"(at), "+c"(n)), "a"(v));
		break;
	default:
		GUARDED(c, "movups (%[p]), %%xmm0\n\tmovups %%xmm0, (%[p])", , [p] "r"(at));
	}
}

static uint32_t
msr(struct cpu *c)
{
	static const uint32_t some[] = { 0x10, 0x17, 0x1b, 0x3a, 0x3b, 0x48, 0x49, 0x79, 0x8b, 0xce, 0xfe,
		0x10a, 0x122, 0x140, 0x174, 0x179, 0x17a, 0x186, 0x199, 0x1a0, 0x1d9, 0x200, 0x250, 0x277,
		0x2ff, 0x345, 0x38f, 0x3f1, 0x480, 0x570, 0x6e0, 0x830, 0xda0, 0x4b564d00, 0x4b564d02,
		0x4b564d04, 0xc0000102, 0xc0000103, 0xc001001f, 0xc0010015, 0xc0010112, 0xc0010117,
		0xc0010141, 0xc0011020 };

	switch (below(c, 8)) {
	case 0:
		return some[below(c, sizeof(some) / sizeof(some[0]))] + below(c, 8);
	case 1:
		return rnd(c);
	case 2:
		return 0x40000100 + below(c, 6); /* crash */
	case 3:
		return 0x40000080 + below(c, 0x40); /* SynIC and its timers */
	case 4:
		return 0x800 + below(c, 0x40); /* x2APIC, the command register apart */
	default:
		return 0x40000000 + below(c, 0x200);
	}
}

/* Registers without which this kernel cannot go on: the long mode, the segments that it stands on. */
static bool
deadly(uint32_t m)
{
	return m == 0xc0000080 || m == 0x830 || m == 0x82d || m == 0x40000071 || m == 0x1b;
}

void
write_msr(struct cpu *c, uint32_t m, uint64_t v)
{
	GUARDED(c, "wrmsr", , "a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(m));
}

static void
try_msr(struct cpu *c)
{
	uint32_t m = msr(c), a = 0, d = 0;
	uint64_t v = below(c, 2) ? value(c) : address(c) | below(c, 2);

	if (below(c, 4) == 0)
		GUARDED(c, "rdmsr", OUT("+a"(a), "+d"(d)), "c"(m));
	else if (!deadly(m))
		write_msr(c, m, v);
}

/* As a guest that is at home there: SynIC on, pages in place, interrupts let in. */
static void
set_up_synic(struct cpu *c)
{
	GUARDED(c, "movl $0x1ff, (%[p])", , [p] "r"(0xfee000f0ul));
	write_msr(c, 0x80f, 0x1ff);
	write_msr(c, 0x40000000, 1 + rnd(c));
	write_msr(c, 0x40000001, (SCRATCH + 0x1000 * below(c, 64)) | 1);
	write_msr(c, 0x40000080, 1);
	write_msr(c, 0x40000082, (SCRATCH + 0x1000 * below(c, 64)) | 1);
	write_msr(c, 0x40000083, (SCRATCH + 0x1000 * below(c, 64)) | 1);
	write_msr(c, 0x40000090 + below(c, 16), 0x30 + below(c, 0xc0));
	write_msr(c, 0x400000b1, 1 + below(c, 100000));
	write_msr(c, 0x400000b0, 1 | (rnd(c) & 0xff00f));
}

void
hypercall(struct cpu *c, uint64_t input, uint64_t in, uint64_t out)
{
	unsigned long result = 0;

#ifdef __x86_64__
	if (c->amd)
		GUARDED(
		    c, "mov %[o], %%r8\n\tvmmcall", OUT("+c"(input), "+d"(in), "+a"(result)), [o] "r"(out));
	else
		GUARDED(
		    c, "mov %[o], %%r8\n\tvmcall", OUT("+c"(input), "+d"(in), "+a"(result)), [o] "r"(out));
#else
	uint32_t d = (uint32_t)(input >> 32), cx = (uint32_t)in;

	result = (uint32_t)input;
	if (c->amd)
		GUARDED(c, "vmmcall", OUT("+a"(result), "+d"(d), "+c"(cx)), "b"((uint32_t)(in >> 32)),
		    "S"((uint32_t)out), "D"((uint32_t)(out >> 32)));
	else
		GUARDED(c, "vmcall", OUT("+a"(result), "+d"(d), "+c"(cx)), "b"((uint32_t)(in >> 32)),
		    "S"((uint32_t)out), "D"((uint32_t)(out >> 32)));
#endif
}

static void
try_hypercall(struct cpu *c)
{
	static const uint16_t codes[] = { 0x02, 0x03, 0x08, 0x0b, 0x13, 0x14, 0x15, 0x40, 0x41, 0x5c, 0x5d,
		0x69, 0x6a, 0x6b, 0x7c, 0xaf, 0xb0 };
	uint64_t input = codes[below(c, sizeof(codes) / sizeof(codes[0]))], in, out;

	if (below(c, 8) == 0)
		input = value(c);
	input |= (uint64_t)(below(c, 2)) << 16 | (uint64_t)below(c, 4) << 17;
	if (below(c, 2))
		input |= (uint64_t)below(c, 4096) << 32 | (uint64_t)below(c, 64) << 48;
	in = below(c, 3) ? address(c) & ~7ull : value(c);
	out = below(c, 3) ? address(c) & ~7ull : value(c);
	for (unsigned i = 0; below(c, 2) && i < 64 && in >= SCRATCH && in < SCRATCH_END; i++)
		((volatile uint32_t *)(unsigned long)in)[i] = (uint32_t)value(c);
	hypercall(c, input, in, out);
}

static void
try_bus(struct cpu *c)
{
	if (c->number == 0)
		bus_step(c);
	else
		bus_scribble(c);
}

static void
try_instruction(struct cpu *c)
{
	uint32_t a = below(c, 2) ? 0x40000000 + below(c, 0x110) : rnd(c), b, d, x = rnd(c);

	switch (below(c, 10)) {
	case 0:
		GUARDED(c, "xsetbv", , "a"(x), "d"(rnd(c)), "c"(below(c, 3)));
		break;
	case 1:
		GUARDED(c, "wbinvd", , "a"(0));
		break;
	case 2:
		GUARDED(c, "monitor", , "a"(SCRATCH), "c"(0), "d"(0));
		break;
	case 3:
		GUARDED(c, "vmrun", , "a"(SCRATCH));
		break;
	case 4:
		GUARDED(c, "vmload\n\tvmsave\n\tclgi", , "a"(SCRATCH));
		break;
	case 5:
		GUARDED(c, "rdpmc", OUT("+a"(a), "=d"(d)), "c"(x));
		break;
	case 6: /* interrupts come in now, if there are any */
		__asm__ volatile("sti; nop; nop; cli");
		write_msr(c, 0x80b, 0);
		GUARDED(c, "movl $0, (%[p])", , [p] "r"(0xfee000b0ul));
		break;
	default:
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(x), "=d"(d));
	}
}

/* What ends the machine, or may. */
static void
seldom(struct cpu *c)
{
	static const struct {
		uint16_t nothing;
		uint32_t nowhere;
	} __attribute__((packed)) no_idt;

	switch (below(c, 10)) {
	case 0:
		outb(0xcf9, (uint8_t)rnd(c));
		break;
	case 1:
		outb(0x92, (uint8_t)rnd(c));
		break;
	case 2:
		outb(0x64, 0xfe);
		break;
	case 3:
		__asm__ volatile("outw %0, %1" : : "a"((uint16_t)rnd(c)), "Nd"((uint16_t)0x404));
		break;
	case 4:
		__asm__ volatile("lidt %0\n\tint3" : : "m"(no_idt));
		break;
	case 5: /* any interrupt to any processor: INIT, SIPI, NMI, SMI */
		GUARDED(c, "movl %k[v], (%[p])", , [v] "r"((unsigned long)rnd(c)), [p] "r"(0xfee00300ul));
		break;
	case 6:
		write_msr(c, below(c, 2) ? 0x1b : 0x40000071, value(c));
		break;
	case 7:
		GUARDED(c, "fldt (%[p])\n\tfstpt (%[p])", , [p] "r"(hole(c)));
		break;
	case 8: /* goes on where there is no memory */
		GUARDED(c, "call *%[p]", , [p] "r"(hole(c)));
		break;
	default:
		GUARDED(c, "mov %[v], %%cr4", , [v] "r"((unsigned long)value(c)));
	}
}

static void
operation(struct cpu *c)
{
	static void (*const tries[])(struct cpu *) = { try_port, try_port, try_port, try_string, try_hole,
		try_hole, try_msr, try_msr, try_hypercall, try_hypercall, try_instruction, try_bus, try_bus,
		try_bus, try_bus, try_bus, try_bus, try_bus, try_bus, try_bus, try_bus, try_bus };

	if (below(c, 200) == 0)
		set_up_synic(c);
	if (below(c, 1500) == 0)
		seldom(c);
	if (below(c, 10) == 0) { /* what has come in meanwhile is delivered */
		__asm__ volatile("sti; nop; cli");
		write_msr(c, 0x40000070, 0);
	}
	tries[below(c, sizeof(tries) / sizeof(tries[0]))](c);
	operations[c->number]++;
}

/* --- start and end
 * ---------------------------------------------------------------------------------------------- */

void
kernel_fatal(unsigned long vector, unsigned long at)
{
	console_sane();
	say("\nHK-FATAL");
	say_number(vector);
	say_number(at);
	say("\n");
	for (;;)
		outb(0xcf9, 6);
}

static void
fill_idt(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t at = (uint32_t)(unsigned long)gates + 16 * i;
		uint32_t low = (at & 0xffff) | (sizeof(long) == 8 ? 0x080000u : 0x180000u);
		uint32_t high = (at & 0xffff0000) | 0x8e00;
		volatile uint32_t *gate = (volatile uint32_t *)(void *)(idt + i * 2 * sizeof(long));

		gate[0] = low;
		gate[1] = high;
	}
}

static void
start_second(struct cpu *c)
{
	static const uint32_t commands[] = { 0xc4500, 0xc4608,
		0xc4608 }; /* to all but itself: INIT, start at 0x8000 */

	for (unsigned i = 0; i < 3; i++) {
		*(volatile uint32_t *)0xfee00300ul = commands[i];
		for (unsigned k = 0; k < (i == 2 ? 50000000 : 200000) && !second_up; k++)
			__asm__ volatile("pause");
	}
	(void)c;
}

static void
power_off(void)
{
	console_sane();
	bus_report();
	say("\nHK-DONE");
	for (unsigned i = 0; i < 2; i++) {
		const struct cpu *c = (const struct cpu *)(const void *)(stacks + i * STACK);

		say_number(operations[i]);
		say_number(c->faults);
		say_number(c->interrupts);
	}
	say("\n");
	for (;;)
		__asm__ volatile("outw %0, %1" : : "a"((uint16_t)(1 << 13 | 5 << 10)), "Nd"((uint16_t)0x404));
}

static void
init_cpu(struct cpu *c, unsigned number)
{
	uint32_t a = 0, b, x, d;

	c->recover = c->faults = c->interrupts = 0;
	c->number = number;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(x), "=d"(d));
	c->amd = b == 0x68747541;
}

/* KVM's own interface is not announced: it must not be there. */
static bool
sees_kvm(struct cpu *c)
{
	uint32_t a, d;
	unsigned long before = c->faults;

	GUARDED(c, "rdmsr", OUT("=a"(a), "=d"(d)), "c"(0x4b564d01));
	return c->faults == before;
}

static void
report_panics(struct cpu *c, uint32_t n)
{
	write_msr(c, 0x40000103, SCRATCH);
	write_msr(c, 0x40000104, 4096);
	for (operations[0] = 0; operations[0] < n; operations[0]++)
		write_msr(c, 0x40000105, 3ull << 62);
	power_off();
}

static volatile uint32_t the_seed;

void
kernel_main(unsigned number)
{
	struct cpu *c = cpu_self();
	uint32_t wanted;

	init_cpu(c, number);
	if (number == 1) {
		second_up = 1;
		while (!the_seed)
			__asm__ volatile("pause");
		seed(c, the_seed);
		while (!done)
			operation(c);
		return;
	}
	fill_idt();
	start_second(c);
	console_sane();
	say(second_up ? "\nHK-READY 2" : "\nHK-READY 1");
	say(sees_kvm(c) ? " kvm\n" : "\n");
	wanted = read_number();
	if (wanted == 0)
		report_panics(c, read_number());
	seed(c, wanted);
	the_seed = wanted | 1;
	wanted = read_number();
	do {
		operation(c);
		if (operations[0] % SAY_EVERY == 0) {
			console_sane();
			say("\nHK");
			say_number(operations[0] + operations[1]);
			say("\n");
			bus_report();
		}
	} while (operations[0] + operations[1] < wanted);
	done = 1;
	power_off();
}
