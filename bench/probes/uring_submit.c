/* uring_submit: does handing an operation to io_uring wait for it?
 *
 * io_uring tries each operation first without blocking, within io_uring_enter(). If that fails, a read of a
 * socket is retried when the socket is ready, a read of a file goes on when the pages are there, and where the
 * kernel knows no such way a thread of its own does the waiting. So the call that submits is short for a file
 * on disk, whether it bypasses the page cache or not, and for a silent socket; with Linux AIO only the first of
 * these is true (submit_blocks.c asks the same there).
 *
 * For each the page takes how often the caller slept in the submission, per operation, and the time until it
 * has returned as a share of the time until the completion was there. For files the times are medians over
 * several blocks. The socket's peer speaks after 50 ms.  pkg-config: liburing
 */
#include "submission.h"

#include <liburing.h>

static struct io_uring ring;

static struct times read_by_ring(int fd, void *buffer, uint64_t offset)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec patience = {.tv_sec = 2};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, fd, buffer, BLOCK, offset);
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	int submitted = io_uring_submit(&ring);
	struct times times = {.submit_us = probe_us_since(start)};
	times.slept = (double)(probe_slept() - slept);
	start = clock_now_ns();
	int error = submitted == 1 ? io_uring_wait_cqe_timeout(&ring, &cqe, &patience) : submitted;
	if (error < 0 || cqe->res < 0)
		probe_fail("an operation failed: %s", strerror(error < 0 ? -error : -cqe->res));
	times.complete_us = times.submit_us + probe_us_since(start);
	io_uring_cqe_seen(&ring, cqe);
	return times;
}

int main(int argc, char **argv)
{
	probe_begin(
		argc, argv, "", "How much of an operation's time a submission to io_uring keeps its caller.");
	int error = io_uring_queue_init(8, &ring, 0);
	if (error < 0)
		probe_skip("io_uring_setup: %s; seccomp, or kernel.io_uring_disabled, refuses it",
			strerror(-error));
	void *buffer = aligned_alloc(BLOCK, BLOCK);
	if (!buffer)
		probe_fail("no memory");
	tell_files(read_by_ring, buffer);
	tell_socket("socket_read", read_by_ring, buffer);
	io_uring_queue_exit(&ring);
	free(buffer);
	return probe_end();
}
