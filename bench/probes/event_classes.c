/* event_classes: what can select() and poll() be asked for?
 *
 * select() has three sets: reading, writing, exceptional conditions. poll() has a bit for each of these, and
 * more: Linux's POLLRDHUP can be asked for like them, and POLLHUP, POLLERR and POLLNVAL come unasked. For each
 * bit the page makes a descriptor to which it applies and one to which it does not, and asks for that bit
 * alone. `told`: reported for the first and not for the second. `asked`: only told if asked for. POLLRDNORM and
 * POLLWRNORM are the historical names of POLLIN and POLLOUT and not counted as further conditions.
 */
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum which { IT_APPLIES, IT_DOES_NOT };

/* Each gives a descriptor: with, or without, what the bit stands for. */
static int with_data(enum which which)
{
	int pair[2];
	must(pipe(pair));
	if (which == IT_APPLIES)
		probe_write(pair[1], 1);
	return pair[0];
}

static int with_room(enum which which)
{
	int pair[2];
	must(pipe2(pair, O_NONBLOCK));
	if (which == IT_DOES_NOT)
		probe_fill(pair[1]);
	return pair[1];
}

static int with_urgent_byte(enum which which)
{
	int pair[2];
	probe_tcp_pair(pair);
	must(send(pair[1], "!", 1, which == IT_APPLIES ? MSG_OOB : 0));
	if (!probe_ready(pair[0], POLLIN | POLLPRI, 1000))
		probe_fail("a byte over loopback did not arrive within a second");
	return pair[0];
}

static int with_peer_that_sends_no_more(enum which which)
{
	int pair[2];
	probe_tcp_pair(pair);
	if (which == IT_APPLIES) {
		must(shutdown(pair[1], SHUT_WR));
		if (!probe_ready(pair[0], POLLIN, 1000))
			probe_fail("an end of stream over loopback did not arrive within a second");
	}
	return pair[0];
}

static int with_writer_gone(enum which which)
{
	int pair[2];
	must(pipe(pair));
	if (which == IT_APPLIES)
		close(pair[1]);
	return pair[0];
}

static int with_reader_gone(enum which which)
{
	int pair[2];
	must(pipe(pair));
	if (which == IT_APPLIES)
		close(pair[0]);
	return pair[1];
}

static int not_open(enum which which)
{
	int fd = must(dup(STDERR_FILENO));
	if (which == IT_APPLIES)
		close(fd);
	return fd;
}

static const struct condition {
	const char *name;
	short bit;
	int (*make)(enum which);
} conditions[] = {
	{"POLLIN", POLLIN, with_data},
	{"POLLOUT", POLLOUT, with_room},
	{"POLLPRI", POLLPRI, with_urgent_byte},
	{"POLLRDHUP", POLLRDHUP, with_peer_that_sends_no_more},
	{"POLLHUP", POLLHUP, with_writer_gone},
	{"POLLERR", POLLERR, with_reader_gone},
	{"POLLNVAL", POLLNVAL, not_open},
};
enum { CONDITIONS = sizeof conditions / sizeof *conditions };

static bool tells(int fd, short events, short bit)
{
	struct pollfd one = {.fd = fd, .events = events};
	must(poll(&one, 1, 0));
	return one.revents & bit;
}

static void ask_poll(void)
{
	int told_ones = 0, asked_ones = 0;
	for (int i = 0; i < CONDITIONS; i++) {
		const struct condition *c = &conditions[i];
		int without = c->make(IT_DOES_NOT), with = c->make(IT_APPLIES);
		bool told = tells(with, c->bit, c->bit) && !tells(without, c->bit, c->bit);
		bool asked = told && !tells(with, 0, c->bit);
		told_ones += told;
		asked_ones += asked;
		facts_open(c->name);
		fact_bool("told", told);
		fact_bool("asked", asked);
		facts_close();
	}
	fact_int("conditions", told_ones);
	fact_int("can_be_asked_for", asked_ones);
}

static bool selects(int fd, int set)
{
	fd_set sets[3];
	for (int i = 0; i < 3; i++)
		FD_ZERO(&sets[i]);
	FD_SET(fd, &sets[set]);
	return must(select(fd + 1, &sets[0], &sets[1], &sets[2], &(struct timeval){0})) == 1;
}

/* Which of the conditions shows in which of its sets; a descriptor that is not open fails the call. */
static void ask_select(void)
{
	static const char *const names[] = {"read", "write", "exceptional"};
	int classes = 0;
	for (int set = 0; set < 3; set++) {
		facts_list(names[set]);
		int shown = 0;
		for (int i = 0; i < CONDITIONS; i++) {
			const struct condition *c = &conditions[i];
			if (c->bit == POLLNVAL || !selects(c->make(IT_APPLIES), set) ||
				selects(c->make(IT_DOES_NOT), set))
				continue;
			fact_text(NULL, c->name);
			shown++;
		}
		facts_close();
		classes += shown > 0;
	}
	fact_int("classes", classes);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Which conditions poll() tells, asked and unasked, and in which of select()'s sets they show.");
	facts_open("poll");
	ask_poll();
	facts_close();
	facts_open("select");
	ask_select();
	facts_close();
	return probe_end();
}
