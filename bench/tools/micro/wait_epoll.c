/* epoll: the kernel keeps the set and a list of those that became ready; a wait takes from that list. */
#include "waits.h"

#include <sys/epoll.h>
#include <unistd.h>

static int epoll_fd;
static const int *watched;
static unsigned total;

static void control(int operation, unsigned index, unsigned interest)
{
	struct epoll_event event = {.events = interest, .data.u32 = index};
	if (epoll_ctl(epoll_fd, operation, watched[index], &event) != 0)
		fail("epoll_ctl");
}

static void watch(const int *fds, unsigned count, unsigned interest)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		cannot("epoll_create1");
	watched = fds;
	total = count;
	for (unsigned i = 0; i < count; i++)
		control(EPOLL_CTL_ADD, i, interest);
}

static void watch_lt(const int *fds, unsigned count)
{
	watch(fds, count, EPOLLIN);
}

static void watch_et(const int *fds, unsigned count)
{
	watch(fds, count, EPOLLIN | EPOLLET);
}

static void watch_oneshot(const int *fds, unsigned count)
{
	watch(fds, count, EPOLLIN | EPOLLONESHOT);
}

static unsigned wait_once(unsigned *ready, unsigned room)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	int n = epoll_wait(epoll_fd, events, room < EVENTS_PER_WAIT ? (int)room : EVENTS_PER_WAIT, -1);
	if (n < 0)
		fail("epoll_wait");
	for (int i = 0; i < n; i++)
		ready[i] = events[i].data.u32;
	return (unsigned)n;
}

static void again(const unsigned *ready, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		control(EPOLL_CTL_MOD, ready[i], EPOLLIN | EPOLLONESHOT);
}

static void unwatch(void)
{
	for (unsigned i = 0; i < total; i++)
		control(EPOLL_CTL_DEL, i, 0);
	close(epoll_fd);
}

const struct way way_epoll_lt = {"epoll_lt", "the kernel keeps the set; told for as long as it is ready",
	watch_lt, wait_once, NULL, unwatch};

const struct way way_epoll_et = {
	"epoll_et", "told once each time something arrives", watch_et, wait_once, NULL, unwatch};

const struct way way_epoll_oneshot = {
	"epoll_oneshot", "told once, then silent until asked again", watch_oneshot, wait_once, again, unwatch};
