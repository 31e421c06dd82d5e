/* close_in_wait: what happens to a wait whose descriptor another thread closes?
 *
 * It goes on. select() and poll() have taken hold of the open file before they sleep; close() takes away the
 * number, not the wait, and not the file either: the peer is not told of an end before the wait is over. When
 * their time is up they look once more, and find the number not open (POLLNVAL). epoll holds nothing: the file
 * goes, its entry goes with it, the peer is told at once, and the wait sleeps on, for nothing at all. So "close
 * it, and the other thread will notice" works with none of them. What wakes them all is shutdown() on a socket,
 * or a descriptor of one's own to be woken by.
 * Takes about 4 s.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATIENCE_MS = 300, ENOUGH_MS = 200, SOON_MS = 50 };

static int watched_fd, peer_fd;

static int wait_select(void)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(watched_fd, &set);
	return select(watched_fd + 1, &set, NULL, NULL, &(struct timeval){.tv_usec = PATIENCE_MS * 1000});
}

static int wait_poll(void)
{
	struct pollfd one = {.fd = watched_fd, .events = POLLIN};
	return poll(&one, 1, PATIENCE_MS);
}

static int wait_epoll(void)
{
	int epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = {.events = EPOLLIN};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watched_fd, &event));
	int n = epoll_wait(epoll_fd, &event, 1, PATIENCE_MS);
	close(epoll_fd);
	return n;
}

struct waiter {
	int (*wait)(void);
	pid_t task;
	int returned;
	double waited_us;
};

static void *wait_in_thread(void *argument)
{
	struct waiter *waiter = argument;
	__atomic_store_n(&waiter->task, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	uint64_t start = clock_now_ns();
	waiter->returned = waiter->wait();
	waiter->waited_us = probe_us_since(start);
	return NULL;
}

static bool has_begun(void *argument)
{
	return __atomic_load_n(&((struct waiter *)argument)->task, __ATOMIC_ACQUIRE) != 0;
}

static void close_it(void)
{
	close(watched_fd);
}

static void shut_it(void)
{
	must(shutdown(watched_fd, SHUT_RD));
}

static void tell(const char *key, int (*wait)(void), void (*end)(void))
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	watched_fd = pair[0];
	peer_fd = pair[1];
	struct waiter waiter = {.wait = wait};
	pthread_t thread = probe_thread(wait_in_thread, &waiter);
	if (!probe_until(has_begun, &waiter, 1000) || !probe_asleep(waiter.task, 1000))
		probe_fail("a thread did not begin to wait within a second");
	end();
	bool peer_told = probe_ready(peer_fd, POLLIN, SOON_MS);
	pthread_join(thread, NULL);
	facts_open(key);
	fact_int("returned", waiter.returned);
	fact_real("waited_us", waiter.waited_us);
	fact_bool("went_on_to_wait", waiter.waited_us >= ENOUGH_MS * 1e3);
	fact_bool("peer_told_meanwhile", peer_told);
	fact_bool("peer_told_after", probe_ready(peer_fd, POLLIN, SOON_MS));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "A descriptor that another thread waits for is closed, or shut down.");
	facts_open("close");
	tell("select", wait_select, close_it);
	tell("poll", wait_poll, close_it);
	tell("epoll", wait_epoll, close_it);
	facts_close();
	facts_open("shutdown");
	tell("select", wait_select, shut_it);
	tell("poll", wait_poll, shut_it);
	tell("epoll", wait_epoll, shut_it);
	facts_close();
	return probe_end();
}
