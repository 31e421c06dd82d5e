/* select_or_poll: do select() and poll() differ in more than how descriptors are named?
 *
 * Below both is the same loop over the same callbacks of the files (fs/select.c). Above it they part:
 * - the bitmap of the C library's fd_set ends at 1024. Writing beyond is undefined, and a program built with
 *   _FORTIFY_SOURCE is aborted for it; the kernel itself takes a longer bitmap, which is Linux's own affair.
 * - select() looks at every word up to the highest descriptor: one descriptor with a high number costs what
 *   the words below it cost. poll() looks at what it was given.
 * - poll() tells a peer that is gone, an error and a closed number apart from data, unasked. select() calls the
 *   first two readable and fails as a whole for the third.
 * - poll() has the question (events) beside the answer (revents), so it can be asked again as it is.
 *
 * The times are medians of calls without patience, nothing ready, over pipes.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HIGH = 1500,
	WORD_BITS = 8 * sizeof(unsigned long),
	WORDS = HIGH / WORD_BITS + 1,
	CALLS = 301,
	MANY = 1000
};

static unsigned long bitmap[WORDS];
static struct pollfd watched[MANY];

static void set_bit(int fd)
{
	bitmap[(size_t)fd / WORD_BITS] |= 1UL << (size_t)fd % WORD_BITS;
}

/* As the system call has it; the C library's select() hands the pointer on as it is. */
static int select_bitmap(int limit)
{
	return select(limit, (fd_set *)bitmap, NULL, NULL, &(struct timeval){0});
}

static void beyond_1024(int fd)
{
	int high = must(fcntl(fd, F_DUPFD, HIGH));
	facts_open("descriptor_1500");
	fact_int("fd_setsize", FD_SETSIZE);
	fact_bool("fits_fd_set", high < FD_SETSIZE);
	fact_int("poll", probe_ready(high, POLLIN, 0));
	memset(bitmap, 0, sizeof bitmap);
	set_bit(high);
	fact_int("select_with_a_longer_bitmap", must(select_bitmap(high + 1)));
	facts_close();
	close(high);
}

struct answer {
	short revents;
	int select_readable; /* -1: it failed */
};

static struct answer ask(int fd, short events)
{
	struct pollfd one = {.fd = fd, .events = events};
	must(poll(&one, 1, 0));
	memset(bitmap, 0, sizeof bitmap);
	set_bit(fd);
	return (struct answer){one.revents, select_bitmap(fd + 1)};
}

static void tell(const char *key, struct answer answer, short bit)
{
	facts_open(key);
	fact_bool("poll_names_it", answer.revents & bit);
	fact_int("select_readable", answer.select_readable);
	facts_close();
}

/* What neither asked for: poll() is given no events at all. */
static void unasked(void)
{
	int gone[2], reader[2], closed[2], half[2];
	must(pipe(gone));
	must(pipe(reader));
	must(pipe(closed));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
	close(gone[1]);
	tell("writer_gone", ask(gone[0], 0), POLLHUP);
	close(reader[0]);
	tell("reader_gone", ask(reader[1], 0), POLLERR);
	close(closed[0]);
	tell("not_open", ask(closed[0], 0), POLLNVAL);
	must(shutdown(half[1], SHUT_WR));
	tell("peer_sends_no_more", ask(half[0], POLLRDHUP), POLLRDHUP);
}

/* The same question again, without making it anew, after an answer "nothing". */
static void question_survives(void)
{
	int pair[2];
	must(pipe(pair));
	struct pollfd one = {.fd = pair[0], .events = POLLIN};
	memset(bitmap, 0, sizeof bitmap);
	set_bit(pair[0]);
	must(poll(&one, 1, 0));
	must(select_bitmap(pair[0] + 1));
	probe_write(pair[1], 1);
	facts_open("asked_again_as_it_is");
	fact_int("poll", must(poll(&one, 1, 0)));
	fact_int("select", must(select_bitmap(pair[0] + 1)));
	facts_close();
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double poll_us(int count)
{
	static double took_us[CALLS];
	for (int i = 0; i < CALLS; i++) {
		uint64_t start = clock_now_ns();
		must(poll(watched, (nfds_t)count, 0));
		took_us[i] = probe_us_since(start);
	}
	qsort(took_us, CALLS, sizeof *took_us, ascending);
	return took_us[CALLS / 2];
}

static double select_us(int count)
{
	static double took_us[CALLS];
	int limit = watched[count - 1].fd + 1; /* they ascend */
	for (int i = 0; i < CALLS; i++) {
		memset(bitmap, 0, sizeof bitmap);
		for (int j = 0; j < count; j++)
			set_bit(watched[j].fd);
		uint64_t start = clock_now_ns();
		must(select_bitmap(limit));
		took_us[i] = probe_us_since(start);
	}
	qsort(took_us, CALLS, sizeof *took_us, ascending);
	return took_us[CALLS / 2];
}

static void times(int quiet_fd)
{
	for (int i = 0; i < MANY; i++)
		watched[i] = (struct pollfd){.fd = must(dup(quiet_fd)), .events = POLLIN};
	facts_open("select_over_poll");
	fact_real("16", select_us(16) / poll_us(16));
	fact_real("128", select_us(128) / poll_us(128));
	fact_real("1000", select_us(MANY) / poll_us(MANY));
	facts_close();
	double low_us = select_us(1);
	watched[0].fd = must(fcntl(quiet_fd, F_DUPFD, HIGH - 1));
	fact_real("select_one_high_over_one_low", select_us(1) / low_us);
}

int main(int argc, char **argv)
{
	probe_begin(
		argc, argv, "", "What select() and poll() do differently, beyond how descriptors are named.");
	if (probe_descriptors() < 2 * HIGH)
		probe_skip("needs %d descriptors; raise the limit with ulimit -n", 2 * HIGH);
	int full[2], quiet[2];
	must(pipe(full));
	must(pipe(quiet));
	probe_write(full[1], 1);

	beyond_1024(full[0]);
	unasked();
	question_survives();
	times(quiet[0]);
	return probe_end();
}
