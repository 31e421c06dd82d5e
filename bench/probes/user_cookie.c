/* user_cookie: what is attached to a descriptor comes back with its events.
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says that epoll_ctl can attach data to a
 * descriptor, which is returned with its events.
 *
 * Ten thousand eventfds are watched, each with the address of its own state in data.ptr; first each
 * in turn is made ready alone and must bring its own pointer, then all at once, when each must come exactly
 * once.
 *
 * What it is good for: finding the state of a ready descriptor costs following a pointer, however many are
 * watched; poll's answer has to be searched. Both are timed in user space alone, for FEW and MANY watched, with
 * BATCH ready at random: epoll's loop over its events, poll's loop over its array until it has seen as many as
 * poll said.
 *
 * Try: build/probes/user_cookie
 * Takes about 0.5 s.
 */
#include "probe.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	MANY = 10000,
	FEW = 100,
	BATCH = 50,
	ROUNDS = 200,
	SPARE = 100, /* descriptors that are not ours */
};

struct state {
	int fd;
	uint64_t events;
};

static struct state states[MANY];
static struct pollfd watched[MANY];
static struct epoll_event events[MANY];

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The mean of the middle half: a clock's tick is too coarse for a median of loops this short. */
static double middle(double *values)
{
	double sum = 0;
	qsort(values, ROUNDS, sizeof values[0], by_size);
	for (int i = ROUNDS / 4; i < ROUNDS * 3 / 4; i++)
		sum += values[i];
	return sum / (ROUNDS / 2);
}

static void set_ready(int fd, bool ready)
{
	uint64_t value = 1;
	if (ready)
		must(write(fd, &value, sizeof value));
	else
		must(read(fd, &value, sizeof value));
}

static int watch(int epoll_fd, int count)
{
	for (int i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &states[i]};
		must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, states[i].fd, &event));
		watched[i] = (struct pollfd){.fd = states[i].fd, .events = POLLIN};
	}
	return epoll_fd;
}

/* How many events bring the state of a descriptor that is ready: reading it succeeds once. */
static int right_pointers(int count)
{
	uint64_t value;
	int epoll_fd = watch(must(epoll_create1(EPOLL_CLOEXEC)), count), right = 0;
	for (int i = 0; i < count; i++) {
		set_ready(states[i].fd, true);
		if (must(epoll_wait(epoll_fd, events, MANY, 0)) != 1 || events[0].data.ptr != &states[i])
			right--;
		set_ready(states[i].fd, false);
	}
	for (int i = 0; i < count; i++)
		set_ready(states[i].fd, true);
	int n = must(epoll_wait(epoll_fd, events, MANY, 0));
	for (int i = 0; i < n; i++) {
		struct state *state = events[i].data.ptr;
		if (state >= states && state < states + count)
			right += read(state->fd, &value, sizeof value) == sizeof value;
	}
	close(epoll_fd);
	return right;
}

struct lookup {
	double epoll_ns, poll_ns; /* per event */
};

static struct lookup timed(int count)
{
	static double epoll_ns[ROUNDS], poll_ns[ROUNDS];
	int epoll_fd = watch(must(epoll_create1(EPOLL_CLOEXEC)), count), chosen[BATCH];
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < BATCH; i++) {
			chosen[i] = count / BATCH * i + rand() % (count / BATCH);
			set_ready(states[chosen[i]].fd, true);
		}
		int left = must(epoll_wait(epoll_fd, events, BATCH, 0));
		uint64_t start = clock_now_ns();
		for (int i = 0; i < left; i++)
			((struct state *)events[i].data.ptr)->events++;
		epoll_ns[round] = (double)(clock_now_ns() - start) / BATCH;

		left = must(poll(watched, (nfds_t)count, 0));
		start = clock_now_ns();
		for (int i = 0; left > 0; i++)
			if (watched[i].revents) {
				states[i].events++;
				left--;
			}
		poll_ns[round] = (double)(clock_now_ns() - start) / BATCH;
		for (int i = 0; i < BATCH; i++)
			set_ready(states[chosen[i]].fd, false);
	}
	close(epoll_fd);
	return (struct lookup){middle(epoll_ns), middle(poll_ns)};
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Whether epoll returns the pointer that was attached, and what a lookup costs.");
	unsigned long limit = probe_descriptors();
	int count = limit < MANY + SPARE ? (int)limit - SPARE : MANY;
	if (count < 10 * FEW)
		probe_skip("%lu descriptors are too few; raise `ulimit -n`", limit);
	for (int i = 0; i < count; i++)
		states[i].fd = must(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));

	fact_int("watched", count);
	fact_int("wrong_or_missing", count - right_pointers(count));
	struct lookup few = timed(FEW), many = timed(count);
	facts_open("lookup_ns_per_event");
	fact_int("few", FEW);
	fact_int("many", count);
	fact_real("epoll_few", few.epoll_ns);
	fact_real("epoll_many", many.epoll_ns);
	fact_real("poll_few", few.poll_ns);
	fact_real("poll_many", many.poll_ns);
	fact_real("epoll_growth", many.epoll_ns / few.epoll_ns);
	fact_real("poll_growth", many.poll_ns / few.poll_ns);
	facts_close();
	return probe_end();
}
