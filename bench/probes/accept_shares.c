/* accept_shares: how evenly do several workers share the connections of one port?
 *
 * With SO_REUSEPORT each worker has a listener of its own on the same port, and the kernel picks one by a hash
 * over both addresses and ports: as even as throwing dice, whatever the workers are doing. The page asks
 * whether it is that even, by Pearson's chi-square over 10000 connections to four listeners (p is the chance
 * that dice would be less even). With one listener shared by four processes that wait, whoever wakes first gets
 * it, and what that does to the shares depends on the way of waiting. There clients come one after another as
 * fast as they can, with at most 100 that wait: a load on which nobody is too busy.
 *
 * libraries: m
 * Takes about 1.4 s.
 */
#include "probe.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 4, THROWN = 10000, SHARED = 1000, BACKLOG = 512, WAITING_MOST = 100, BATCH = 100 };

static struct sockaddr_in address;
static atomic_int *accepted; /* by each worker */

/* A reset at the end keeps no port in TIME_WAIT. */
static int connect_one(void)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	struct linger reset = {.l_onoff = 1};
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
	must(connect(fd, (struct sockaddr *)&address, sizeof address));
	return fd;
}

static void tell_shares(const int *counts)
{
	int least = counts[0], most = counts[0];
	facts_list("shares");
	for (int i = 0; i < WORKERS; i++) {
		fact_int(NULL, counts[i]);
		least = counts[i] < least ? counts[i] : least;
		most = counts[i] > most ? counts[i] : most;
	}
	facts_close();
	fact_real("max_over_min",
		(double)most / (least > 0 ? least : 1)); /* of one that got none, at least this */
}

/* The upper tail of the chi-square distribution with three degrees of freedom, which has a closed form. */
static double chi_square_p(const int *counts, int total)
{
	double expected = (double)total / WORKERS, x = 0;
	for (int i = 0; i < WORKERS; i++)
		x += (counts[i] - expected) * (counts[i] - expected) / expected;
	return erfc(sqrt(x / 2)) + sqrt(2 * x / M_PI) * exp(-x / 2);
}

static int accept_some(struct pollfd *listeners, int *counts)
{
	int sum = 0;
	if (must(poll(listeners, WORKERS, 1000)) == 0)
		probe_fail("no listener had a connection within a second");
	for (int i = 0; i < WORKERS; i++) {
		if (!listeners[i].revents)
			continue;
		int fd;
		while ((fd = accept4(listeners[i].fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			close(fd);
			counts[i]++;
			sum++;
		}
	}
	return sum;
}

/* The hash does not ask who waits, so one process can hold all four. */
static void reuseport(void)
{
	struct pollfd listeners[WORKERS];
	int counts[WORKERS] = {0};
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (int i = 0; i < WORKERS; i++)
		listeners[i] = (struct pollfd){.fd = probe_listen_beside(BACKLOG, &address), .events = POLLIN};
	for (int thrown = 0; thrown < THROWN; thrown += BATCH) {
		int fds[BATCH];
		for (int i = 0; i < BATCH; i++)
			fds[i] = connect_one();
		for (int left = BATCH; left > 0;)
			left -= accept_some(listeners, counts);
		for (int i = 0; i < BATCH; i++)
			close(fds[i]);
	}
	facts_open("reuseport");
	fact_int("connections", THROWN);
	tell_shares(counts);
	fact_real("chi_square_p", chi_square_p(counts, THROWN));
	facts_close();
	for (int i = 0; i < WORKERS; i++)
		close(listeners[i].fd);
}

static _Noreturn void work(int number, int listener, bool with_epoll)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = must(epoll_create1(EPOLL_CLOEXEC));
	must(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
	for (;;) {
		if (with_epoll)
			must(epoll_wait(set, &event, 1, -1));
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		close(fd);
		atomic_fetch_add(&accepted[number], 1);
	}
}

static int sum(void)
{
	int total = 0;
	for (int i = 0; i < WORKERS; i++)
		total += atomic_load(&accepted[i]);
	return total;
}

static bool all_accepted(void *expected)
{
	return sum() >= *(int *)expected;
}

static void one_listener(const char *key, bool with_epoll)
{
	pid_t workers[WORKERS];
	int counts[WORKERS], expected = SHARED, listener = probe_listen(BACKLOG, &address);
	probe_nonblock(listener, with_epoll);
	for (int i = 0; i < WORKERS; i++) {
		atomic_store(&accepted[i], 0);
		workers[i] = probe_fork();
		if (workers[i] == 0)
			work(i, listener, with_epoll);
		probe_asleep(workers[i], 1000);
	}
	for (int i = 0; i < SHARED; i++) {
		int enough = i - WAITING_MOST;
		if (i > WAITING_MOST && !probe_until(all_accepted, &enough, 1000))
			probe_fail("%d of %d connections were accepted within a second", sum(), i);
		close(connect_one());
	}
	if (!probe_until(all_accepted, &expected, 1000))
		probe_fail("%d of %d connections were accepted", sum(), SHARED);
	for (int i = 0; i < WORKERS; i++) {
		kill(workers[i], SIGKILL);
		probe_reap(workers[i]);
		counts[i] = atomic_load(&accepted[i]);
	}
	facts_open(key);
	fact_int("connections", SHARED);
	tell_shares(counts);
	facts_close();
	close(listener);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How evenly four workers share connections: SO_REUSEPORT, accept() and epoll on one listener.");
	size_t size = WORKERS * sizeof *accepted;
	accepted = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (accepted == MAP_FAILED)
		probe_fail("no memory");
	reuseport();
	one_listener("accept", false);
	one_listener("epoll", true);
	return probe_end();
}
