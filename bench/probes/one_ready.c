/* one_ready: what a wait costs that finds one descriptor ready among N, as a well-known table of 2006 has it.
 *
 * N eventfds are watched in one process.  An operation makes one of them ready, chosen at random, waits, and
 * makes it unready again; only the wait is timed.  The kernel asks each watched descriptor in every poll and
 * select; an epoll was told by the one that became ready, and looks at no other.
 *
 * `s_per_100k`: the median wait times 100,000, the unit of that table, for 10 to 10,000 descriptors (`n`).
 * `growth`: at 10,000 over at 10. `slope`: of the logarithm of time over that of N, from 100 on.
 * `over_epoll_1000`: the time over epoll's with 1,000 descriptors; `epoll_over_poll_750` is for who had 750.
 *
 * Needs Linux 2.6.22 (eventfd). libraries: m
 * Try: build/probes/one_ready
 * Takes about 1.1 s.
 */
#include "fit.h"
#include "probe.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

enum { MOST = 10000, BITS = 16384, PLACES = 5, OPERATIONS = 201 };
enum { AT_10, AT_100, AT_750, AT_1000, AT_10000 };
static const int sizes[PLACES] = {10, 100, 750, 1000, MOST};

static int fds[MOST], epoll_fd;
static struct pollfd watched[MOST];
static unsigned long asked[BITS / (8 * sizeof(long))], answer[BITS / (8 * sizeof(long))];

static int wait_poll(int n)
{
	return must(poll(watched, (nfds_t)n, 0));
}

/* The kernel takes as many bits as it is told of; fd_set's 1,024 are the library's. */
static int wait_select(int n)
{
	struct timeval now = {0};
	memcpy(answer, asked, sizeof answer);
	return must(select(fds[n - 1] + 1, (fd_set *)answer, NULL, NULL, &now));
}

static int wait_epoll(int n)
{
	struct epoll_event event;
	(void)n;
	return must(epoll_wait(epoll_fd, &event, 1, 0));
}

static void make_descriptors(void)
{
	unsigned long limit = probe_descriptors();
	if (limit < MOST + 64)
		probe_skip("needs %d descriptors, the limit is %lu", MOST + 64, limit);
	for (int i = 0; i < MOST; i++) {
		fds[i] = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
		watched[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	}
	if (fds[MOST - 1] >= BITS)
		probe_fail("descriptor %d is beyond the set", fds[MOST - 1]);
}

/* select and epoll watch the first n, as poll does by its argument. */
static void watch(int n)
{
	memset(asked, 0, sizeof asked);
	if (epoll_fd > 0)
		close(epoll_fd);
	epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
		must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event));
		asked[(size_t)fds[i] / (8 * sizeof(long))] |= 1UL << (size_t)fds[i] % (8 * sizeof(long));
	}
}

static int ascending(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

static double median_ns(int (*wait)(int n), int n)
{
	double took_ns[OPERATIONS];
	uint64_t one = 1;
	srandom(1);
	watch(n);
	for (int i = 0; i < OPERATIONS; i++) {
		int fd = fds[random() % n];
		must(write(fd, &one, sizeof one));
		uint64_t start = clock_now_ns();
		int ready = wait(n);
		took_ns[i] = (double)(clock_now_ns() - start);
		if (ready != 1)
			probe_fail("%d of %d were told to be ready, not 1", ready, n);
		must(read(fd, &one, sizeof one));
	}
	qsort(took_ns, OPERATIONS, sizeof *took_ns, ascending);
	return took_ns[OPERATIONS / 2];
}

static void tell(const char *name, const double *ns, const double *epoll_ns)
{
	facts_open(name);
	facts_list("s_per_100k");
	for (int i = 0; i < PLACES; i++)
		fact_real(NULL, ns[i] * 1e5 / 1e9);
	facts_close();
	fact_real("growth", ns[AT_10000] / ns[AT_10]);
	fact_real("slope", fit_slope(sizes + AT_100, ns + AT_100, PLACES - AT_100));
	fact_real("over_epoll_1000", ns[AT_1000] / epoll_ns[AT_1000]);
	facts_close();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*wait)(int n);
	} ways[] = {{"poll", wait_poll}, {"select", wait_select}, {"epoll", wait_epoll}};
	enum { POLL, SELECT, EPOLL, WAYS };
	double ns[WAYS][PLACES];
	probe_begin(argc, argv, "", "What a wait costs that finds one descriptor ready among N.");
	make_descriptors();
	for (int way = 0; way < WAYS; way++)
		for (int place = 0; place < PLACES; place++)
			ns[way][place] = median_ns(ways[way].wait, sizes[place]);
	facts_list("n");
	for (int place = 0; place < PLACES; place++)
		fact_int(NULL, sizes[place]);
	facts_close();
	for (int way = 0; way < WAYS; way++)
		tell(ways[way].name, ns[way], ns[EPOLL]);
	fact_real("epoll_over_poll_750", ns[EPOLL][AT_750] / ns[POLL][AT_750]);
	return probe_end();
}
