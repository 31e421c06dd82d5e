/* poll and ppoll: the whole array goes in; the kernel asks every descriptor and writes every answer. */
#include "waits.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>

static struct pollfd *polled;
static unsigned total;

static void watch(const int *fds, unsigned count)
{
	total = count;
	polled = zeroed(count, sizeof *polled);
	for (unsigned i = 0; i < count; i++)
		polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
}

static unsigned collect(int left, unsigned *ready, unsigned room)
{
	unsigned found = 0;
	for (unsigned i = 0; left > 0 && found < room; i++)
		if (polled[i].revents) {
			ready[found++] = i;
			left--;
		}
	return found;
}

static unsigned wait_poll(unsigned *ready, unsigned room)
{
	int n = poll(polled, total, -1);
	if (n < 0)
		fail("poll");
	return collect(n, ready, room);
}

static unsigned wait_ppoll(unsigned *ready, unsigned room)
{
	const struct timespec timeout = {.tv_sec = 10};
	sigset_t mask;
	sigemptyset(&mask);
	int n = ppoll(polled, total, &timeout, &mask);
	if (n < 0)
		fail("ppoll");
	return collect(n, ready, room);
}

static void unwatch(void)
{
	free(polled);
}

const struct way way_poll = {
	"poll", "an array of all descriptors in every call", watch, wait_poll, NULL, unwatch};

const struct way way_ppoll = {
	"ppoll", "poll with a timeout in nanoseconds and a signal mask", watch, wait_ppoll, NULL, unwatch};
