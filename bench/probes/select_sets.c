/* select_sets: what select() takes and what it leaves behind.
 *
 * select() takes up to three sets and answers in the same memory: a bit that was set stays set only if its
 * descriptor is ready in that sense. So the question is gone after each call, and a program that forgets to ask
 * anew asks only about what was ready last time: all others are deaf from then on, without any error. Linux
 * also writes the time that was left into the timeout (other systems do not, POSIX allows both), so a loop that
 * does not set it anew waits less and less. A set that is of no interest may be NULL, which saves its copying.
 */
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/select.h>
#include <unistd.h>

enum { TIMEOUT_MS = 200, SILENCE_MS = 50 };

static int write_later_fd;

static void *write_later(void *unused)
{
	probe_sleep_ms(SILENCE_MS);
	probe_write(write_later_fd, 1);
	return unused;
}

/* One end of a connection with a byte in it is readable and writable, without anything exceptional. */
static void three_sets(int busy, int idle)
{
	fd_set readable, writable, exceptional;
	FD_ZERO(&readable);
	FD_SET(busy, &readable);
	FD_SET(idle, &readable);
	writable = exceptional = readable;
	int most = (busy > idle ? busy : idle) + 1;
	facts_open("three_sets");
	fact_int("returned", must(select(most, &readable, &writable, &exceptional, &(struct timeval){0})));
	fact_bool("busy_read", FD_ISSET(busy, &readable));
	fact_bool("busy_write", FD_ISSET(busy, &writable));
	fact_bool("busy_exceptional", FD_ISSET(busy, &exceptional));
	fact_bool("idle_read", FD_ISSET(idle, &readable)); /* it was set before */
	fact_bool("idle_write", FD_ISSET(idle, &writable));
	facts_close();
}

static void sets_may_be_null(int busy)
{
	fd_set set;
	facts_open("null_sets");
	FD_ZERO(&set);
	FD_SET(busy, &set);
	fact_int("only_read", must(select(busy + 1, &set, NULL, NULL, &(struct timeval){0})));
	FD_SET(busy, &set);
	fact_int("only_write", must(select(busy + 1, NULL, &set, NULL, &(struct timeval){0})));
	FD_SET(busy, &set);
	fact_int("only_exceptional", must(select(busy + 1, NULL, NULL, &set, &(struct timeval){0})));
	fact_int("none", must(select(0, NULL, NULL, NULL, &(struct timeval){0})));
	facts_close();
}

/* Two descriptors are watched; one has something to say, then the other. */
static void forgotten(int first[2], int second[2])
{
	fd_set set;
	int most = (first[0] > second[0] ? first[0] : second[0]) + 1;
	FD_ZERO(&set);
	FD_SET(first[0], &set);
	FD_SET(second[0], &set);
	probe_write(first[1], 1);
	must(select(most, &set, NULL, NULL, &(struct timeval){0}));
	probe_drain(first[0]);
	probe_write(second[1], 1);
	facts_open("set_not_made_anew");
	fact_int("ready", probe_ready(second[0], POLLIN, 0));
	fact_int("returned", must(select(most, &set, NULL, NULL, &(struct timeval){0})));
	facts_close();
	probe_drain(second[0]);
}

static void time_left(int pair[2])
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pair[0], &set);
	struct timeval timeout = {.tv_usec = TIMEOUT_MS * 1000};
	write_later_fd = pair[1];
	uint64_t start = clock_now_ns();
	pthread_t writer = probe_thread(write_later, NULL);
	int returned = must(select(pair[0] + 1, &set, NULL, NULL, &timeout));
	double waited_us = probe_us_since(start), left_us = (double)timeout.tv_usec;
	pthread_join(writer, NULL);
	facts_open("timeout");
	fact_int("returned", returned);
	fact_bool("rewritten", timeout.tv_usec != TIMEOUT_MS * 1000);
	fact_real("left_us", left_us);
	fact_real("left_and_waited_over_given", (left_us + waited_us) / (TIMEOUT_MS * 1e3));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(
		argc, argv, "", "select()'s three sets, changed in place; NULL sets; the time that is left.");
	int busy[2], idle[2], first[2], second[2];
	probe_tcp_pair(busy);
	probe_tcp_pair(idle);
	must(pipe2(first, O_NONBLOCK));
	must(pipe2(second, O_NONBLOCK));

	probe_write(busy[1], 1);
	if (!probe_ready(busy[0], POLLIN, 1000))
		probe_fail("a byte over loopback did not arrive within a second");
	three_sets(busy[0], idle[0]);
	sets_may_be_null(busy[0]);
	forgotten(first, second);
	time_left(first);
	return probe_end();
}
