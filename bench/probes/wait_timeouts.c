/* wait_timeouts: how long do the waits wait?
 *
 * A timeout of zero asks and returns, no timeout waits until something is ready, and all others end at the time
 * or at the first event. Two things surprise. A wait never ends early, but it ends late: by the timer's slack
 * (50 us unless prctl(PR_SET_TIMERSLACK) says otherwise) and by the way to the CPU. And a signal handler ends
 * every one of them with EINTR, with SA_RESTART, too (signal(7) lists them as never restarted).
 * Their units differ: select counts microseconds, poll and epoll_wait milliseconds, ppoll, pselect and
 * epoll_pwait2 nanoseconds. So poll cannot wait for 300 us: it is 0 or 1000.
 *
 * Waits of zero are told by their median. Of the others it is the shortest of five: a busy host makes a wait
 * longer and never shorter, and whether one was early shows there, too. Nothing is ever ready.
 * Takes about 1.4 s.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

enum { ZEROS = 1001, TIMED = 5, FOREVER = -1, SIGNAL_AFTER_MS = 20 };

static int quiet_fd, epoll_fd;

static int wait_select(int timeout_ms)
{
	struct timeval timeout = {.tv_usec = timeout_ms * 1000};
	fd_set set;
	FD_ZERO(&set);
	FD_SET(quiet_fd, &set);
	return select(quiet_fd + 1, &set, NULL, NULL, timeout_ms == FOREVER ? NULL : &timeout);
}

static int wait_poll(int timeout_ms)
{
	struct pollfd watched = {.fd = quiet_fd, .events = POLLIN};
	return poll(&watched, 1, timeout_ms);
}

static int wait_ppoll(int timeout_ms)
{
	struct pollfd watched = {.fd = quiet_fd, .events = POLLIN};
	struct timespec timeout = {.tv_nsec = timeout_ms * 1000000};
	return ppoll(&watched, 1, timeout_ms == FOREVER ? NULL : &timeout, NULL);
}

static int wait_epoll(int timeout_ms)
{
	struct epoll_event event;
	return epoll_wait(epoll_fd, &event, 1, timeout_ms);
}

static const struct way {
	const char *name;
	int (*wait)(int timeout_ms);
} ways[] = {{"select", wait_select}, {"poll", wait_poll}, {"ppoll", wait_ppoll}, {"epoll_wait", wait_epoll}};

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The times of so many waits, each of which has to return 0, the shortest first. */
static const double *waits_us(const struct way *way, int timeout_ms, int times)
{
	static double took_us[ZEROS];
	for (int i = 0; i < times; i++) {
		uint64_t start = clock_now_ns();
		if (way->wait(timeout_ms) != 0)
			probe_fail("%s with %d ms did not return 0", way->name, timeout_ms);
		took_us[i] = probe_us_since(start);
	}
	qsort(took_us, (size_t)times, sizeof *took_us, ascending);
	return took_us;
}

static void caught(int number)
{
	(void)number;
}

/* The signal comes again every 20 ms: one that came before the wait began does not leave us waiting. */
static void interrupt(const struct way *way, timer_t timer)
{
	struct itimerspec every = {.it_value.tv_nsec = SIGNAL_AFTER_MS * 1000000,
		.it_interval.tv_nsec = SIGNAL_AFTER_MS * 1000000};
	double took_us[TIMED];
	int returned = 0, error = 0;
	for (int i = 0; i < TIMED; i++) {
		uint64_t start = clock_now_ns();
		must(timer_settime(timer, 0, &every, NULL));
		returned = way->wait(FOREVER);
		error = errno;
		took_us[i] = probe_us_since(start);
		must(timer_settime(timer, 0, &(struct itimerspec){0}, NULL));
	}
	qsort(took_us, TIMED, sizeof *took_us, ascending);
	facts_open("forever_and_a_signal_at_20ms");
	fact_int("returned", returned);
	fact_error("error", error);
	fact_real("waited_us", took_us[0]);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "The waits with no time, 50 ms, all the time, and a signal in between.");
	int quiet[2];
	must(pipe(quiet));
	quiet_fd = quiet[0];
	epoll_fd = must(epoll_create1(0));
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, quiet_fd, &(struct epoll_event){.events = EPOLLIN}));
	struct sigaction action = {.sa_handler = caught, .sa_flags = SA_RESTART};
	must(sigaction(SIGUSR1, &action, NULL));
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;
	must(timer_create(CLOCK_MONOTONIC, &event, &timer));

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		facts_open(ways[i].name);
		fact_real("zero_us", waits_us(&ways[i], 0, ZEROS)[ZEROS / 2]);
		fact_real("50ms_us", waits_us(&ways[i], 50, TIMED)[0]);
		interrupt(&ways[i], timer);
		facts_close();
	}
	return probe_end();
}
