#include "context.h"

#include <stdint.h>
#include <stdlib.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

static void (*first_call)(void);
static struct context *left, *running; /* by the latest switch */

static void arrive(void);

static void begin(void)
{
	arrive();
	first_call();
	abort();
}

/* What follows is a switch for each processor: switch_stacks() pushes what a call must preserve, leaves the
 * stack pointer in *from and goes on with `to`; first_frame() makes a stack look as if it had been left so,
 * just before a return into begin(). */
#if defined __x86_64__

/* System V ABI: rbx, rbp, r12 to r15, and control words of the floating-point units, which nothing here
 * changes. */
void switch_stacks(void **from, void *to);
__asm__(".text\n"
	".type switch_stacks, @function\n"
	"switch_stacks:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size switch_stacks, . - switch_stacks\n");

/* Behind the return the stack pointer is 8 off a multiple of 16, as at the beginning of any function. */
static void *first_frame(void *stack, uintptr_t top)
{
	(void)stack;
	uintptr_t *frame = (uintptr_t *)top - 8;
	frame[6] = (uintptr_t)begin;
	return frame;
}

#elif defined __aarch64__

/* AAPCS64: x19 to x28, the frame pointer x29, the return address x30, and the lower halves of v8 to v15. */
void switch_stacks(void **from, void *to);
__asm__(".text\n"
	".type switch_stacks, %function\n"
	"switch_stacks:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size switch_stacks, . - switch_stacks\n");

static void *first_frame(void *stack, uintptr_t top)
{
	(void)stack;
	uintptr_t *frame = (uintptr_t *)top - 20;
	frame[11] = (uintptr_t)begin;
	return frame;
}

#else

#include <ucontext.h>

/* The stack pointer stands for a ucontext_t at the top of the stack; the thread's own is found at the first
 * switch. */
static void switch_stacks(void **from, void *to)
{
	static ucontext_t thread;
	if (!*from)
		*from = &thread;
	swapcontext(*from, to);
}

static void *first_frame(void *stack, uintptr_t top)
{
	ucontext_t *frame = (ucontext_t *)((top - sizeof *frame) & ~(uintptr_t)63);
	getcontext(frame);
	frame->uc_stack.ss_sp = stack;
	frame->uc_stack.ss_size = (size_t)((char *)frame - (char *)stack);
	makecontext(frame, begin, 0);
	return frame;
}

#endif

#ifdef __SANITIZE_ADDRESS__

static void depart(void **fake_stack)
{
	__sanitizer_start_switch_fiber(fake_stack, running->stack, running->size);
}

/* Where the thread's own stack lies is learnt when it is left for the first time. */
static void arrive(void)
{
	const void *stack;
	size_t size;
	__sanitizer_finish_switch_fiber(running->fake_stack, &stack, &size);
	left->stack = (void *)(uintptr_t)stack;
	left->size = size;
}

/* Frames that were left for good have never returned: their red zones are still there. */
static void clean(void *stack, size_t size)
{
	__asan_unpoison_memory_region(stack, size);
}

#else

static void depart(void **fake_stack)
{
	(void)fake_stack;
}

static void arrive(void)
{
}

static void clean(void *stack, size_t size)
{
	(void)stack, (void)size;
}

#endif

void context_make(struct context *context, void *stack, size_t size, void (*entry)(void))
{
	clean(stack, size);
	first_call = entry;
	*context = (struct context){.stack = stack, .size = size};
	context->stack_pointer = first_frame(stack, ((uintptr_t)stack + size) & ~(uintptr_t)15);
}

void context_switch(struct context *from, struct context *to)
{
	left = from;
	running = to;
	depart(&from->fake_stack);
	switch_stacks(&from->stack_pointer, to->stack_pointer);
	arrive();
}

void context_leave(struct context *from, struct context *to)
{
	left = from;
	running = to;
	depart(NULL); /* it will not be back */
	switch_stacks(&from->stack_pointer, to->stack_pointer);
	abort();
}
