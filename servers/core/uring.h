/* What liburing 2.3 lacks a helper for, and its errors folded into what a server does next. Header only: the
 * core itself builds without liburing. */
#ifndef URING_H
#define URING_H

#include "server.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

enum { URING_POLLER_IDLE_MS = 100 }; /* before the kernel's submission thread, if there is one, goes to sleep */

struct uring_buffers { /* the kernel takes one for each receive that completes, the server gives it back */
	struct io_uring_buf_ring *ring;
	uint8_t *memory;
	unsigned count, bytes;
};

/* Sets the ring up, so that a bad submission does not hold up those behind it. Ends the process with status 77
 * where this host refuses a ring with these flags; `since` is the Linux version that has them. */
static inline void uring_start(
	struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags, const char *since)
{
	struct io_uring_params params = {.cq_entries = completions, .sq_thread_idle = URING_POLLER_IDLE_MS};
	params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
	int error = -io_uring_queue_init_params(submissions, ring, &params);
	if (error == EINVAL)
		cannot_run("io_uring_setup: %s; it needs Linux %s", strerror(error), since);
	if (error == ENOMEM)
		cannot_run("io_uring_setup: %s; raise the limit on locked memory (ulimit -l)", strerror(error));
	if (error) /* EPERM, EACCES or ENOSYS */
		cannot_run("io_uring_setup: %s; see sysctl kernel.io_uring_disabled or the sandbox's seccomp",
			strerror(error));
	io_uring_register_ring_fd(ring); /* spares each call a look-up; if refused, it goes without */
}

/* Readable once SIGTERM or SIGINT has come, which stay blocked. */
static inline int uring_stop_fd(void)
{
	sigset_t stops;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	int fd = signalfd(-1, &stops, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd: %s", strerror(errno));
	return fd;
}

static inline uint8_t *uring_buffer(const struct uring_buffers *buffers, unsigned index)
{
	return buffers->memory + (size_t)index * buffers->bytes;
}

static inline void uring_give(struct uring_buffers *buffers, unsigned index)
{
	io_uring_buf_ring_add(buffers->ring, uring_buffer(buffers, index), buffers->bytes,
		(unsigned short)index, io_uring_buf_ring_mask(buffers->count), 0);
	io_uring_buf_ring_advance(buffers->ring, 1);
}

/* Registers `count` buffers, a power of two, as group 0, and gives them all to the kernel. */
static inline void uring_provide(
	struct io_uring *ring, struct uring_buffers *buffers, unsigned count, unsigned bytes)
{
	*buffers = (struct uring_buffers){.count = count, .bytes = bytes};
	size_t ring_bytes = (count * sizeof(struct io_uring_buf) + 4095) / 4096 * 4096; /* whole pages */
	buffers->ring = aligned_alloc(4096, ring_bytes);
	buffers->memory = aligned_alloc(4096, (size_t)count * bytes);
	if (!buffers->ring || !buffers->memory)
		die("no memory for %u buffers of %u bytes", count, bytes);
	io_uring_buf_ring_init(buffers->ring);
	struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffers->ring, .ring_entries = count};
	int error = -io_uring_register_buf_ring(ring, &registration, 0);
	if (error)
		die("io_uring_register_buf_ring: %s", strerror(error));
	for (unsigned index = 0; index < count; index++)
		uring_give(buffers, index);
}

/* The next free entry of the submission queue; if it is full, it is submitted first. */
static inline struct io_uring_sqe *uring_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(ring))) {
		int n = io_uring_submit(ring);
		if (n < 0)
			die("io_uring_enter: %s", strerror(-n));
	}
	return sqe;
}

#endif
