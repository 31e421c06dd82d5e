/* closed_dup: does epoll forget a descriptor that is closed?
 *
 * epoll watches what a descriptor refers to, the open file description, and an entry goes when that goes. A
 * copy, by dup(), by fork(), or sent over a socket, keeps it alive: after close() epoll goes on to report the
 * number that is closed, for as long as the copy stays open and something is there to read. The program cannot
 * read it, cannot take it out of the set (EPOLL_CTL_DEL fails with EBADF), and so cannot make it stop: a loop
 * then spins. When the number is given out again it may even look like the new descriptor. What helps: take it
 * out before closing, or close-on-exec and no fork in between. poll() is asked for numbers: it says POLLNVAL.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPINS = 1000 };

static int epoll_fd, ours, theirs;

static void open_watched(void)
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	ours = pair[0];
	theirs = pair[1];
	epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = {.events = EPOLLIN, .data.fd = ours};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ours, &event));
}

static bool reports(void)
{
	struct epoll_event event = {0};
	return must(epoll_wait(epoll_fd, &event, 1, 0)) == 1 && event.data.fd == ours;
}

static int reports_of_many(void)
{
	int count = 0;
	for (int i = 0; i < SPINS; i++)
		count += reports();
	return count;
}

static int error_of(int result)
{
	return result < 0 ? errno : 0;
}

/* With the copy open, closed, and what the program can do about it meanwhile. */
static void after_close(void)
{
	char byte;
	struct pollfd one = {.fd = ours, .events = POLLIN};
	close(ours);
	probe_write(theirs, 1);
	fact_bool("reported", reports());
	fact_int("reports_in_1000_waits", reports_of_many());
	fact_error("read", error_of((int)read(ours, &byte, 1)));
	fact_error("epoll_ctl_del", error_of(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, ours, NULL)));
	must(poll(&one, 1, 0));
	fact_bool("poll_says_not_open", one.revents == POLLNVAL);
}

static void with_dup(void)
{
	open_watched();
	int copy = must(dup(ours));
	facts_open("dup");
	after_close();
	close(copy);
	fact_bool("reported_after_the_copy_is_closed", reports());
	facts_close();
}

static void with_child(void)
{
	int go[2];
	must(pipe(go));
	open_watched();
	pid_t child = probe_fork();
	if (child == 0) {
		char byte;
		close(go[1]);
		must(read(go[0], &byte, 1)); /* it only lives, and holds its copies */
		_exit(0);
	}
	facts_open("fork");
	after_close();
	close(go[1]);
	close(go[0]);
	probe_reap(child);
	fact_bool("reported_after_the_copy_is_closed", reports());
	facts_close();
}

static void without_copy(void)
{
	open_watched();
	probe_write(theirs, 1);
	facts_open("no_copy");
	fact_bool("reported_before", reports());
	close(ours);
	fact_bool("reported", reports());
	facts_close();
}

static void taken_out_first(void)
{
	open_watched();
	int copy = must(dup(ours));
	probe_write(theirs, 1);
	facts_open("taken_out_first");
	fact_bool("reported_before", reports());
	must(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, ours, NULL));
	close(ours);
	fact_bool("reported", reports());
	facts_close();
	close(copy);
}

int main(int argc, char **argv)
{
	probe_begin(
		argc, argv, "", "epoll goes on to report a closed descriptor while a copy of it stays open.");
	without_copy();
	with_dup();
	with_child();
	taken_out_first();
	return probe_end();
}
