/* io_uring poll requests: readiness through the completion queue, once or (multishot) again and again. */
#include "waits.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>

enum { SUBMISSIONS = 1024, COMPLETIONS = 16384 };
#define REMOVAL UINT64_MAX

static struct io_uring ring;
static const int *watched;
static unsigned total;

static struct io_uring_sqe *entry(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	if (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static void start(const int *fds, unsigned count)
{
	struct io_uring_params params = {.cq_entries = COMPLETIONS};
	params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	int error = -io_uring_queue_init_params(SUBMISSIONS, &ring, &params);
	errno = error;
	if (error)
		cannot("io_uring_setup");
	io_uring_register_ring_fd(&ring);
	watched = fds;
	total = count;
}

static void watch_once(const int *fds, unsigned count)
{
	start(fds, count);
	for (unsigned i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = entry();
		io_uring_prep_poll_add(sqe, watched[i], POLLIN);
		sqe->user_data = i;
	}
	io_uring_submit(&ring);
}

static void watch_multishot(const int *fds, unsigned count)
{
	start(fds, count);
	for (unsigned i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = entry();
		io_uring_prep_poll_multishot(sqe, watched[i], POLLIN);
		sqe->user_data = i;
	}
	io_uring_submit(&ring);
}

static unsigned wait_once(unsigned *ready, unsigned room)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	int error = -io_uring_submit_and_wait_timeout(&ring, &cqe, 1, NULL, NULL);
	if (error > 0 && error != EINTR) {
		errno = error;
		fail("io_uring_enter");
	}
	io_uring_for_each_cqe(&ring, head, cqe)
	{
		if (seen == room)
			break;
		if (cqe->res < 0) {
			errno = -cqe->res;
			fail("io_uring poll");
		}
		ready[seen++] = (unsigned)cqe->user_data;
	}
	io_uring_cq_advance(&ring, seen);
	return seen;
}

/* A system call of its own here; a server would hand these in with its next wait. */
static void again(const unsigned *ready, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe *sqe = entry();
		io_uring_prep_poll_add(sqe, watched[ready[i]], POLLIN);
		sqe->user_data = ready[i];
	}
	io_uring_submit(&ring);
}

static void unwatch(void)
{
	for (unsigned i = 0; i < total; i++) {
		struct io_uring_sqe *sqe = entry();
		io_uring_prep_poll_remove(sqe, i);
		sqe->user_data = REMOVAL;
	}
	io_uring_submit(&ring);
	io_uring_queue_exit(&ring);
}

const struct way way_io_uring = {
	"io_uring", "a poll request for each event, through the rings", watch_once, wait_once, again, unwatch};

const struct way way_io_uring_multishot = {"io_uring_multishot",
	"one poll request that completes again and again", watch_multishot, wait_once, NULL, unwatch};
