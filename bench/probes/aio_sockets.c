/* aio_sockets: can Linux AIO serve sockets without waiting in the submission?
 *
 * Since Linux 4.18 it can wait for readiness, with IOCB_CMD_POLL. The page serves ten connections with it, in
 * one thread and with no other way to wait: polls are submitted together, completions are taken together, what
 * is ready is echoed. A poll is answered once: a descriptor that stays readable, or becomes so again, is not
 * reported until it is submitted anew, which takes the place of epoll_ctl() and can be batched. Messages are
 * sent to one connection after another, in an order that no blocking read of the connections in turn could
 * follow.
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONNECTIONS = 10, MESSAGES = 100, PRIME = 7, BYTES = 64 };

static aio_context_t context;
static int theirs[CONNECTIONS], ours[CONNECTIONS];
static struct iocb polls[CONNECTIONS];

static void ask(unsigned connection)
{
	struct iocb *list[] = {&polls[connection]};
	polls[connection] = (struct iocb){.aio_data = connection,
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (unsigned)ours[connection],
		.aio_buf = POLLIN};
	if (syscall(SYS_io_submit, context, 1, list) != 1)
		probe_skip("io_submit of a poll: %s; it needs Linux 4.18", strerror(errno));
}

/* Completions that come within the time, at most one per connection. */
static int wait_for(struct io_event *events, unsigned patience_ms)
{
	struct timespec patience = clock_timespec(patience_ms * 1000000ULL);
	return (int)must(syscall(SYS_io_getevents, context, 1, CONNECTIONS, events, &patience));
}

static void echo(struct io_event *events, int n)
{
	char buffer[BYTES];
	for (int i = 0; i < n; i++) {
		unsigned connection = (unsigned)events[i].data;
		ssize_t bytes = must(read(ours[connection], buffer, sizeof buffer));
		must(write(ours[connection], buffer, (size_t)bytes));
		ask(connection);
	}
}

static void serve(void)
{
	struct io_event events[CONNECTIONS];
	char buffer[BYTES];
	int served = 0;
	double longest_us = 0;
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		uint64_t start = clock_now_ns();
		ask(i);
		longest_us = probe_us_since(start) > longest_us ? probe_us_since(start) : longest_us;
	}
	for (int i = 0; i < MESSAGES; i++) {
		int connection = i * PRIME % CONNECTIONS;
		probe_write(theirs[connection], BYTES);
		echo(events, wait_for(events, 1000));
		served += probe_ready(theirs[connection], POLLIN, 1000) &&
			  read(theirs[connection], buffer, BYTES) == BYTES;
	}
	facts_open("echo");
	fact_int("messages", MESSAGES);
	fact_int("served", served);
	fact_bool("asynchronously", served == MESSAGES);
	fact_real("longest_submit_us", longest_us); /* while nothing was ready */
	facts_close();
}

/* The rest of what arrived is left in the socket, and nothing is submitted. */
static void answered_once(void)
{
	struct io_event event[CONNECTIONS];
	char byte;
	facts_open("one_submission");
	probe_write(theirs[0], 2);
	fact_int("first_wait", wait_for(event, 1000));
	must(read(ours[0], &byte, 1));
	fact_bool("still_readable", probe_ready(ours[0], POLLIN, 0));
	fact_int("second_wait", wait_for(event, 50));
	probe_write(theirs[0], 1);
	fact_int("after_more_arrived", wait_for(event, 50));
	ask(0);
	fact_int("submitted_again", wait_for(event, 1000));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Ten connections served by Linux AIO's polls; each poll is answered once.");
	if (syscall(SYS_io_setup, CONNECTIONS, &context) != 0)
		probe_skip("io_setup: %s; this kernel has no AIO, or seccomp refuses it", strerror(errno));
	for (int i = 0; i < CONNECTIONS; i++) {
		int pair[2];
		probe_tcp_pair(pair);
		theirs[i] = pair[0];
		ours[i] = pair[1];
	}
	serve();
	answered_once();
	syscall(SYS_io_destroy, context);
	return probe_end();
}
