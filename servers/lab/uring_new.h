/* What Linux has had since liburing 2.3 was released, by the kernel's own numbers
 * (include/uapi/linux/io_uring.h). A kernel without it refuses, and the page says which version has it. */
#ifndef URING_NEW_H
#define URING_NEW_H

#include "uring.h"

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4) /* Linux 6.10: one completion for several buffers */
#endif
enum {
	URING_BUFFERS_INCREMENTAL = 2, /* IOU_PBUF_RING_INC, Linux 6.12: a buffer is used up bit by bit */
	URING_BUFFER_MORE = 1 << 4,    /* IORING_CQE_F_BUF_MORE: the kernel keeps it */
	URING_HAS_BUNDLES = 1 << 14,   /* IORING_FEAT_RECVSEND_BUNDLE, Linux 6.10 */
	URING_HAS_MIN_WAIT = 1 << 15,  /* IORING_FEAT_MIN_TIMEOUT, Linux 6.12 */
};

struct uring_wait { /* struct io_uring_getevents_arg, whose padding has become a timeout */
	uint64_t mask;
	uint32_t mask_bytes, min_wait_us;
	uint64_t timeout;
};

/* The field behind the group's number, which liburing has called `pad` and now calls `flags`. */
static inline void uring_set_buffer_flags(struct io_uring_buf_reg *registration, uint16_t flags)
{
	size_t behind = offsetof(struct io_uring_buf_reg, bgid) + sizeof registration->bgid;
	memcpy((uint8_t *)registration + behind, &flags, sizeof flags);
}

/* Makes the prepared entries visible to the kernel and says how many it has not taken yet: what io_uring_enter
 * is to be told. liburing does this inside its own calls. Newer ones may set the ring up without the array of
 * indices (IORING_SETUP_NO_SQARRAY): entries are then taken in their order. */
static inline unsigned uring_publish(struct io_uring *ring)
{
	struct io_uring_sq *queue = &ring->sq;
	unsigned tail = *queue->ktail, mask = *queue->kring_mask;
	for (; queue->sqe_head != queue->sqe_tail; queue->sqe_head++, tail++)
		if (queue->array)
			queue->array[tail & mask] = queue->sqe_head & mask;
	__atomic_store_n(queue->ktail, tail, __ATOMIC_RELEASE);
	return tail - __atomic_load_n(queue->khead, __ATOMIC_ACQUIRE);
}

/* Hands in what is prepared and waits for `least` completions, but after min_wait_us for one only, and not
 * beyond the timeout. 0 or an errno. */
static inline int uring_wait_for(
	struct io_uring *ring, unsigned least, unsigned min_wait_us, const struct __kernel_timespec *timeout)
{
	struct uring_wait wait = {
		.mask_bytes = _NSIG / 8, .min_wait_us = min_wait_us, .timeout = (uintptr_t)timeout};
	long n = syscall(SYS_io_uring_enter, ring->ring_fd, uring_publish(ring), least,
		IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &wait, sizeof wait);
	return n < 0 ? errno : 0;
}

#endif
