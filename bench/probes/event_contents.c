/* event_contents: does a notification say how many bytes there are?
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that an edge-triggered notification tells that a
 * descriptor is ready, and not how many bytes arrived.
 *
 * The same descriptor becomes ready with 1 byte and then with 1,000, under EPOLLET. The two events are compared
 * as bytes: struct epoll_event has a mask and the user's data, and nothing else. Who wants the number asks for
 * it with a system call of its own, FIONREAD. A completion does carry it: io_uring's answer to a receive is the
 * number of bytes, and the bytes are already there (kqueue's event has it too, in its `data`).
 *
 * pkg-config: liburing
 * Try: build/probes/event_contents
 */
#include "probe.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FEW = 1,
	MANY = 1000,
	PATIENCE_MS = 1000,
};

static struct epoll_event event_of(int epoll_fd, const int pair[2], size_t bytes, int *unread)
{
	struct epoll_event event;
	memset(&event, 0, sizeof event); /* padding, too: it is compared */
	probe_write(pair[0], bytes);
	if (must(epoll_wait(epoll_fd, &event, 1, PATIENCE_MS)) != 1)
		probe_fail("no event for %zu bytes", bytes);
	*unread = probe_unread(pair[1]);
	probe_drain(pair[1]);
	return event;
}

static void show_completion(const int pair[2])
{
	struct io_uring ring;
	struct io_uring_cqe *completion;
	struct __kernel_timespec patience = {.tv_sec = PATIENCE_MS / 1000};
	char buffer[MANY];
	int error = io_uring_queue_init(4, &ring, 0);
	facts_open("io_uring");
	fact_bool("available", error == 0);
	if (error == 0) {
		probe_write(pair[0], MANY);
		io_uring_prep_recv(io_uring_get_sqe(&ring), pair[1], buffer, sizeof buffer, 0);
		io_uring_submit(&ring);
		if (io_uring_wait_cqe_timeout(&ring, &completion, &patience) != 0)
			probe_fail("io_uring does not complete a receive of what is there");
		fact_int("completion_says", completion->res);
		io_uring_queue_exit(&ring);
	}
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Whether an event, FIONREAD or a completion says how many bytes arrived.");
	int pair[2], epoll_fd = must(epoll_create1(EPOLL_CLOEXEC)), unread_few, unread_many;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	struct epoll_event interest = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1122334455667788};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[1], &interest));

	struct epoll_event few = event_of(epoll_fd, pair, FEW, &unread_few);
	struct epoll_event many = event_of(epoll_fd, pair, MANY, &unread_many);
	fact_int("event_bytes", sizeof few);
	fact_int("mask_and_data_bytes", sizeof few.events + sizeof few.data);
	fact_bool("events_of_1_and_1000_bytes_differ", memcmp(&few, &many, sizeof few) != 0);
	fact_bool("data_is_ours", few.data.u64 == interest.data.u64);
	facts_list("fionread");
	fact_int(NULL, unread_few);
	fact_int(NULL, unread_many);
	facts_close();
	show_completion(pair);
	return probe_end();
}
