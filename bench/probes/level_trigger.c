/* level_trigger: readiness is told for as long as it lasts.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says of level-triggered notification that a process may read
 * all that is there, a part of it, or nothing.
 *
 * 1,024 bytes are sent once to a socket that level-triggered epoll watches. They are read by 500, with a wait
 * before each read: every wait must tell of what is left, and none when nothing is. Then 1,024 more are sent
 * and not read at all: a hundred waits must tell a hundred times.
 *
 * The freedom has its price. A loop that leaves data lying has no wait that waits: for SPIN_MS it does nothing
 * but ask, and its share of a CPU is taken; the wanted share has
 * the time that it queued for one, too.
 *
 * Try: build/probes/level_trigger
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE = 1024,
	PART = 500,
	ASKED = 100,
	SPIN_MS = 200,
};

static int epoll_fd;

static int told(int patience_ms)
{
	struct epoll_event event;
	return must(epoll_wait(epoll_fd, &event, 1, patience_ms));
}

static void show_spin(void)
{
	long waits = 0, slept = probe_slept();
	double cpu_us = probe_cpu_us(), wanted_us = probe_wanted_us(gettid());
	uint64_t start = clock_now_ns();
	while (probe_us_since(start) < SPIN_MS * 1e3) {
		told(-1);
		waits++;
	}
	double took_us = probe_us_since(start);
	facts_open("nothing_read");
	fact_real("waits_per_s", (double)waits / took_us * 1e6);
	fact_real("cpu_share", (probe_cpu_us() - cpu_us) / took_us);
	fact_real("wanted_cpu_share", (probe_wanted_us(gettid()) - wanted_us) / took_us);
	fact_int("slept", probe_slept() - slept);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"What level-triggered epoll tells of data that is read in part, or not at all.");
	char buffer[MESSAGE] = {0};
	int pair[2];
	epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	struct epoll_event interest = {.events = EPOLLIN};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[1], &interest));

	probe_write(pair[0], MESSAGE);
	facts_list("told_then_read");
	for (int left = MESSAGE; left > 0;) {
		ssize_t n = 0;
		fact_int(NULL, told(0));
		fact_int(NULL, n = must(read(pair[1], buffer, PART)));
		left -= (int)n;
	}
	fact_int(NULL, told(0));
	facts_close();

	probe_write(pair[0], MESSAGE);
	int times = 0;
	for (int i = 0; i < ASKED; i++)
		times += told(0);
	fact_int("asked_without_reading", ASKED);
	fact_int("told_without_reading", times);
	show_spin();
	return probe_end();
}
