/* aio_eventfd: can one loop wait for sockets in epoll and for Linux AIO's completions?
 *
 * An operation with IOCB_FLAG_RESFD adds one to an eventfd when it completes, and an eventfd can be in an epoll
 * set. So one epoll_wait() waits for both; the eventfd's number says how many completions are there, and
 * io_getevents() takes them without waiting. The page reads a file in 64 operations, while a socket in the same
 * set has something to say, and counts: operations handed in, the eventfd's sum, completions taken. An eventfd
 * is a counter: 64 completions may be a single event of epoll's.
 */
#include "probe.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPERATIONS = 64, BLOCK = 4096 };

static aio_context_t context;
static char buffers[OPERATIONS][BLOCK];

static void submit(int file, int event_fd)
{
	static struct iocb iocbs[OPERATIONS];
	struct iocb *list[OPERATIONS];
	for (int i = 0; i < OPERATIONS; i++) {
		iocbs[i] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = (unsigned)file,
			.aio_buf = (uintptr_t)buffers[i],
			.aio_nbytes = BLOCK,
			.aio_offset = (long long)i * BLOCK,
			.aio_flags = IOCB_FLAG_RESFD,
			.aio_resfd = (unsigned)event_fd};
		list[i] = &iocbs[i];
	}
	if (must(syscall(SYS_io_submit, context, OPERATIONS, list)) != OPERATIONS)
		probe_fail("io_submit took only some of the operations");
}

static int take_completions(void)
{
	struct io_event events[OPERATIONS];
	struct timespec none = {0};
	int whole = 0, n = (int)must(syscall(SYS_io_getevents, context, 0, OPERATIONS, events, &none));
	for (int i = 0; i < n; i++)
		whole += events[i].res == BLOCK;
	return whole;
}

/* Waits until all have completed and the socket was heard. */
static void loop(int epoll_fd, int event_fd, int socket_fd)
{
	int completions = 0, waits = 0, socket_events = 0;
	eventfd_t told = 0;
	while (completions < OPERATIONS || socket_events == 0) {
		struct epoll_event events[2];
		int n = must(epoll_wait(epoll_fd, events, 2, 1000));
		if (n == 0)
			break; /* a second without an event: the counts say what is missing */
		waits++;
		for (int i = 0; i < n; i++)
			if (events[i].data.fd == event_fd) {
				eventfd_t more;
				must(eventfd_read(event_fd, &more));
				told += more;
				completions += take_completions();
			} else {
				socket_events++;
				probe_drain(socket_fd);
			}
	}
	fact_int("told_by_eventfd", (long long)told);
	fact_int("completions", completions);
	fact_int("socket_events", socket_events);
	fact_int("waits", waits);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Linux AIO's completions, told to epoll by an eventfd, beside a socket.");
	char path[] = "/tmp/probe-XXXXXX";
	int pair[2], file = must(mkstemp(path));
	must(unlink(path));
	probe_write(file, OPERATIONS * BLOCK);
	if (syscall(SYS_io_setup, OPERATIONS, &context) != 0)
		probe_skip("io_setup: %s; this kernel has no AIO, or seccomp refuses it", strerror(errno));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	int event_fd = must(eventfd(0, EFD_NONBLOCK)), epoll_fd = must(epoll_create1(0));
	int watched[] = {event_fd, pair[0]};
	for (int i = 0; i < 2; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = watched[i]};
		must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watched[i], &event));
	}
	submit(file, event_fd);
	probe_write(pair[1], 1);
	fact_int("submitted", OPERATIONS);
	loop(epoll_fd, event_fd, pair[0]);
	syscall(SYS_io_destroy, context);
	return probe_end();
}
