/*
 * tests/lab/hostile/entry.S - entry of the hostile kernel (PVH: 32 bits, no paging), of its second processor,
 * and of interrupts. Assembled for 32 and for 64 bits; addresses are physical in both.
 *
 * Each processor has a stack of STACK bytes, aligned to its size. Its lowest words are what entry and C share:
 * where to go on after a fault (0: nowhere), number of faults, number of interrupts.
 */
#define STACK 16384
#define TRAMPOLINE 0x8000

#ifdef __x86_64__
#define CODE 0x08
#else
#define CODE 0x18
#endif

	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
	cli
	cld
	mov $stacks + STACK, %esp
	/* The second processor begins at a page below 1 MiB. */
	mov $trampoline, %esi
	mov $TRAMPOLINE, %edi
	mov $trampoline_end - trampoline, %ecx
	rep movsb
	mov $stacks + 2 * STACK, %eax
	mov %eax, ap_stack
#ifdef __x86_64__
	/* 64 GiB, one to one, in pages of 2 MiB. */
	mov $pages, %edi
	mov $0x83, %eax
	xor %edx, %edx
1:	mov %eax, (%edi)
	mov %edx, 4(%edi)
	add $8, %edi
	add $0x200000, %eax
	adc $0, %edx
	cmp $pages + 64 * 4096, %edi
	jb 1b
	mov $pointers, %edi
	mov $pages + 3, %eax
2:	mov %eax, (%edi)
	add $8, %edi
	add $4096, %eax
	cmp $pages + 64 * 4096, %eax
	jb 2b
	movl $pointers + 3, top
#endif
	xor %ebp, %ebp
both:	/* ebp: number of the processor */
	lgdt gdt_at
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov %cr4, %eax
	or $0x620, %eax		/* SSE, PAE */
#ifndef __x86_64__
	and $~0x20, %eax
#endif
	mov %eax, %cr4
	mov %cr0, %eax
	and $~4, %eax
	or $0x23, %eax
	mov %eax, %cr0
#ifdef __x86_64__
	mov $top, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
#endif
	ljmp $CODE, $far
#ifdef __x86_64__
	.code64
#endif
far:
	lidt idt_at
#ifdef __x86_64__
	mov %ebp, %edi
#else
	push %ebp
#endif
	call kernel_main
	cli
3:	hlt
	jmp 3b

	.code16
trampoline:
	cli
	xor %ax, %ax
	mov %ax, %ds
	lgdtl TRAMPOLINE + trampoline_gdt - trampoline
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x18, $ap32
trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:
	.code32
ap32:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov ap_stack, %esp
	mov $1, %ebp
	jmp both

#ifdef __x86_64__
	.code64
#define A rax
#define C rcx
#define SP rsp
#define WORD 8
#define IRET iretq
#else
#define A eax
#define C ecx
#define SP esp
#define WORD 4
#define IRET iret
#endif

/* A gate's code is 16 bytes: those without an error code push a zero for it. */
	.balign 16
	.globl gates
gates:
	vector = 0
	.rept 256
	.balign 16
	.if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
	push $0
	.endif
	push $vector
	jmp gate
	vector = vector + 1
	.endr

gate:	/* vector, error, where */
	push %A
	push %C
	mov %SP, %C
	and $-STACK, %C
	cmpl $32, 2 * WORD(%SP)
	jae 1f
	cmpl $2, 2 * WORD(%SP)
	je 1f
	mov (%C), %A
	test %A, %A
	jz fatal
	mov %A, 4 * WORD(%SP)
#ifdef __x86_64__
	movq $0, (%C)
#else
	movl $0, (%C)
#endif
	incl WORD(%C)
	jmp 2f
1:	incl 2 * WORD(%C)
2:	pop %C
	pop %A
	add $2 * WORD, %SP
	IRET

fatal:
#ifdef __x86_64__
	mov 16(%rsp), %rdi
	mov 32(%rsp), %rsi
	and $-16, %rsp
#else
	mov 8(%esp), %eax
	mov 16(%esp), %ecx
	push %ecx
	push %eax
#endif
	call kernel_fatal

	.data
	.balign 8
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* 08: code, 64 bits */
	.quad 0x00cf93000000ffff	/* 10: data */
	.quad 0x00cf9b000000ffff	/* 18: code, 32 bits */
gdt_end:
gdt_at:	.word gdt_end - gdt - 1
	.long gdt, 0
	.globl idt_at
idt_at:	.word 256 * 2 * WORD - 1
	.long idt, 0
	.globl ap_stack
ap_stack:
	.long 0

	.bss
	.balign STACK
	.globl stacks
stacks:	.skip 2 * STACK
	.balign 4096
	.globl idt
idt:	.skip 4096
#ifdef __x86_64__
top:	.skip 4096
pointers:
	.skip 4096
pages:	.skip 64 * 4096
#endif
	.section .note.GNU-stack, "", @progbits
