/*
 * tests/lab/hostile/kernel.h - what the parts of the hostile kernel share: its processors, random numbers,
 * and instructions that may fault.
 */
#ifndef TESTS_LAB_HOSTILE_KERNEL_H
#define TESTS_LAB_HOSTILE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#define SCRATCH     0x01000000u /* to SCRATCH_END: RAM that nothing of ours is in but what vmbus.c lends */
#define SCRATCH_END 0x03000000u

#ifdef __x86_64__
#define WORD_MOV  "movq"
#define CLOBBERED "memory", "r8", "r9", "r10", "r11" /* by hypercalls */
#else
#define WORD_MOV  "movl"
#define CLOBBERED "memory"
#endif

struct cpu { /* at the bottom of its stack */
	unsigned long recover;
	unsigned long faults, interrupts;
	uint32_t random[4];
	unsigned number;
	bool amd;
};

/* Instructions that may fault: then whatever they were to give is undefined. */
#define GUARDED(c, op, out, ...)                                                      \
	__asm__ volatile(WORD_MOV " $1f, %[at]\n\t" op "\n1:\t" WORD_MOV " $0, %[at]" \
			 : [at] "+m"((c)->recover)out:__VA_ARGS__                     \
			 : CLOBBERED)
#define OUT(...) , __VA_ARGS__

uint32_t rnd(struct cpu *c);
uint32_t below(struct cpu *c, uint32_t n);
uint64_t value(struct cpu *c); /* one that is interesting, or not */
void write_msr(struct cpu *c, uint32_t m, uint64_t v);
void hypercall(struct cpu *c, uint64_t input, uint64_t in, uint64_t out);

void say(const char *s);
void say_number(unsigned long v); /* with a space before it */

#endif
