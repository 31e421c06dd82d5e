/* wait_cost: what a wait costs that has nothing to wait for, by how many descriptors are watched and how many
 * are ready.
 *
 * N eventfds are watched in one process, M of them are ready and stay so. A round is one call that tells which,
 * and the scan of its answer for them, several times over; each is timed, and the quickest round counts, which
 * nobody has interrupted. From these come slopes, of the logarithm of the time over the logarithm of N or M: 1
 * is a cost that grows as they do, 0 one that does not.
 *
 * `call_slope_n`, `scan_slope_n`: of the kernel's part and of the process's, from 512 descriptors on, one of
 * them ready. `first_over_last`: the call's time where that one is the first in the array, over where it is the
 * last. `call_slope_m` (epoll): by the number that are ready. `scan_share`: the scan's part of both.
 *
 * Needs Linux 2.6.22 (eventfd). libraries: m
 * Try: build/probes/wait_cost
 * Takes about 0.3 s.
 */
#include "fit.h"
#include "probe.h"

#include <math.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

enum {
	MOST = 8192,
	SELECT_MOST = 1000,
	MOST_READY = 64,
	ROUNDS = 101,
	SCANNED = 65536 /* entries in a round, or the clock would be too coarse */,
	PLACES = 3
};

static int fds[MOST];
static struct pollfd watched[MOST];
static struct epoll_event events[MOST_READY];
static fd_set asked, answer;
static int epoll_fd;

/* A way of waiting: `call` returns how many are ready, `scan` how many of the n it found. */
struct way {
	const char *name;
	int (*call)(int n);
	int (*scan)(int n);
	int sizes[PLACES];
};
struct cost {
	double call_ns, scan_ns;
};

static int call_poll(int n)
{
	return must(poll(watched, (nfds_t)n, 0));
}

static int scan_poll(int n)
{
	int found = 0;
	for (int i = 0; i < n; i++)
		found += watched[i].revents != 0;
	return found;
}

static int call_select(int n)
{
	struct timeval now = {0};
	answer = asked;
	return must(select(fds[n - 1] + 1, &answer, NULL, NULL, &now));
}

static int scan_select(int n)
{
	int found = 0;
	for (int i = 0; i < n; i++)
		found += FD_ISSET(fds[i], &answer) != 0;
	return found;
}

static int call_epoll(int n)
{
	(void)n;
	return must(epoll_wait(epoll_fd, events, MOST_READY, 0));
}

static int told; /* by the last call */

static int scan_epoll(int n)
{
	int found = 0;
	(void)n;
	for (int i = 0; i < told; i++)
		found += events[i].events != 0;
	return found;
}

static void make_descriptors(void)
{
	unsigned long limit = probe_descriptors();
	if (limit < MOST + 64)
		probe_skip("needs %d descriptors, the limit is %lu", MOST + 64, limit);
	FD_ZERO(&asked);
	for (int i = 0; i < MOST; i++) {
		fds[i] = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
		watched[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
		if (i < SELECT_MOST)
			FD_SET(fds[i], &asked);
	}
}

/* epoll watches the first n of them. */
static void watch(int n)
{
	if (epoll_fd > 0)
		close(epoll_fd);
	epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
		must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event));
	}
}

static double quickest(const double *values)
{
	double least = values[0];
	for (int i = 1; i < ROUNDS; i++)
		least = fmin(least, values[i]);
	return least;
}

/* With `ready` of the n ready, evenly spread and the first of them at `first`. */
static struct cost time_one(const struct way *way, int n, int ready, int first)
{
	double call_ns[ROUNDS], scan_ns[ROUNDS];
	int step = n / ready, scans = SCANNED / (way->scan == scan_epoll ? ready : n);
	uint64_t one = 1;
	for (int i = 0; i < ready; i++)
		must(write(fds[(first + i * step) % n], &one, sizeof one));
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = clock_now_ns();
		told = way->call(n);
		uint64_t middle = clock_now_ns();
		int found = 0;
		for (int i = 0; i < scans; i++)
			found += way->scan(n);
		uint64_t end = clock_now_ns();
		if (told != ready || found != scans * ready)
			probe_fail("%s told %d of %d and %d were found", way->name, told, ready, found / scans);
		call_ns[round] = (double)(middle - start);
		scan_ns[round] = (double)(end - middle) / scans;
	}
	for (int i = 0; i < ready; i++)
		must(read(fds[(first + i * step) % n], &one, sizeof one));
	return (struct cost){quickest(call_ns), quickest(scan_ns)};
}

static void by_descriptors(const struct way *way)
{
	double call_ns[PLACES], scan_ns[PLACES];
	for (int i = 0; i < PLACES; i++) {
		watch(way->sizes[i]);
		struct cost cost = time_one(way, way->sizes[i], 1, way->sizes[i] / 2);
		call_ns[i] = cost.call_ns;
		scan_ns[i] = cost.scan_ns;
	}
	int most = way->sizes[PLACES - 1];
	double first = time_one(way, most, 1, 0).call_ns, last = time_one(way, most, 1, most - 1).call_ns;
	fact_int("most", most);
	fact_real("call_slope_n", fit_slope(way->sizes, call_ns, PLACES));
	fact_real("scan_slope_n", fit_slope(way->sizes, scan_ns, PLACES));
	fact_real("call_ns_at_most", call_ns[PLACES - 1]);
	fact_real("scan_ns_at_most", scan_ns[PLACES - 1]);
	fact_real("scan_share", scan_ns[PLACES - 1] / (scan_ns[PLACES - 1] + call_ns[PLACES - 1]));
	fact_real("first_over_last", first / last);
}

int main(int argc, char **argv)
{
	static const struct way ways[] = {
		{"poll", call_poll, scan_poll, {512, 2048, 8192}},
		{"select", call_select, scan_select, {256, 512, SELECT_MOST}},
		{"epoll", call_epoll, scan_epoll, {512, 2048, 8192}},
	};
	static const int ready[] = {1, 4, 16, MOST_READY};
	double call_ns[4];
	probe_begin(argc, argv, "",
		"What a wait costs by how many descriptors are watched and how many are ready.");
	make_descriptors();
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		facts_open(ways[i].name);
		by_descriptors(&ways[i]);
		if (ways[i].call == call_epoll) {
			for (int j = 0; j < 4; j++)
				call_ns[j] = time_one(&ways[i], MOST, ready[j], MOST / 128).call_ns;
			fact_real("call_slope_m", fit_slope(ready, call_ns, 4));
		}
		facts_close();
	}
	return probe_end();
}
