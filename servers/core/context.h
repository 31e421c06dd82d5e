/* Contexts: flows of control that take turns, each on a stack of its own. Pure: no scheduler, and no system
 * call; who runs when is the caller's affair.
 *
 * A function that calls another expects some registers to be as they were when the call returns, and its
 * variables to lie on its stack. So to leave one flow in the middle of a call, and to return into another,
 * takes no more than to push those registers, exchange the stack pointer, and pop the other's: context.c does
 * it in as many instructions. swapcontext(3) saves the signal mask besides, which is a system call for each
 * switch: it serves only where context.c does not know the processor.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stddef.h>

struct context {                  /* zeroed, it stands for the thread that first switches from it */
	void *stack_pointer;      /* while it does not run: its registers are there */
	void *stack, *fake_stack; /* for AddressSanitizer, which is told of each switch */
	size_t size;
};

/* Begins with entry(), which must not return, on that stack when it is first switched to. All contexts of a
 * process have the same entry(). */
void context_make(struct context *, void *stack, size_t size, void (*entry)(void));

/* Leaves the running flow in *from, and goes on where *to was left. Returns when *from is switched to. */
void context_switch(struct context *from, struct context *to);

/* The last switch of a context: its stack is free again when *to runs. */
_Noreturn void context_leave(struct context *from, struct context *to);

#endif
