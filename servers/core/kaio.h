/* Linux's own asynchronous I/O without libaio: its system calls, and completions read in user space. Header
 * only: the core itself has no use for it. */
#ifndef KAIO_H
#define KAIO_H

#include "server.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What the kernel puts at a context's address. No header of its has it; libaio and fio read it like this. */
struct kaio_ring {
	unsigned id, count, head, tail, magic, compatible, incompatible, header_bytes;
	struct io_event events[];
};
#define KAIO_RING_MAGIC 0xa10a10a1

/* Makes a context for that many operations at a time. False: errno says why not. */
static inline bool kaio_open(aio_context_t *context, unsigned operations)
{
	*context = 0;
	return syscall(SYS_io_setup, operations, context) == 0;
}

/* A number of the kernel's; 0 where it is not to be had. */
static inline unsigned long kaio_sysctl(const char *path)
{
	unsigned long value = 0;
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%lu", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	return value;
}

/* Ends the process with status 77, after a kaio_open() that failed. */
static inline _Noreturn void kaio_cannot_run(unsigned operations)
{
	if (errno != EAGAIN)
		cannot_run("io_setup: %s; this kernel has no AIO, or the sandbox's seccomp refuses it",
			strerror(errno));
	unsigned long taken = kaio_sysctl("/proc/sys/fs/aio-nr");
	cannot_run("io_setup for %u operations: all programs together have %lu, the limit is %lu; try sysctl "
		   "fs.aio-max-nr=%lu",
		operations, taken, kaio_sysctl("/proc/sys/fs/aio-max-nr"), taken + 65536);
}

/* Waits for what cannot be cancelled, cancels the rest: afterwards nothing is in flight. */
static inline void kaio_close(aio_context_t context)
{
	syscall(SYS_io_destroy, context);
}

static inline void kaio_submit(aio_context_t context, struct iocb **iocbs, unsigned n)
{
	for (unsigned i = 0; i < n;) {
		long taken = syscall(SYS_io_submit, context, (long)(n - i), iocbs + i);
		if (taken < 0)
			die("io_submit: %s", strerror(errno));
		i += (unsigned)taken;
	}
}

/* Calls a poll back: it will complete, with whatever is ready then, or has done so already. */
static inline void kaio_cancel(aio_context_t context, struct iocb *iocb)
{
	struct io_event unused;
	syscall(SYS_io_cancel, context, iocb, &unused);
}

/* Takes at most n completions, without a system call: the kernel writes an event before it moves the tail
 * (acquire), and may overwrite it once we have moved the head (release). Unknown rings are left to it. */
static inline unsigned kaio_harvest(aio_context_t context, struct io_event *events, unsigned n)
{
	struct kaio_ring *ring = (struct kaio_ring *)context;
	if (ring->magic != KAIO_RING_MAGIC || ring->incompatible != 0) {
		struct timespec none = {0};
		long taken = syscall(SYS_io_getevents, context, 0L, (long)n, events, &none);
		if (taken < 0 && errno != EINTR)
			die("io_getevents: %s", strerror(errno));
		return taken < 0 ? 0 : (unsigned)taken;
	}
	unsigned taken = 0, head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	while (head != tail && taken < n) {
		events[taken++] = ring->events[head];
		head = head + 1 < ring->count ? head + 1 : 0;
	}
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
	return taken;
}

#endif
