/* return_counts: what do select() and poll() count?
 *
 * Both return 0 when time is up and a positive number when something is ready, and they do not count the same.
 * select() counts bits: a descriptor that is readable and writable counts twice. poll() counts entries of its
 * array in which something happened, however much it was. They also part where a descriptor is not open:
 * select() fails as a whole with EBADF and says nothing of the others; poll() returns it as one more entry with
 * an event, POLLNVAL, and still tells of the rest.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 10, READY = 4 };

static int ours[DESCRIPTORS], theirs[DESCRIPTORS];

static int most_of_ours(void)
{
	int most = 0;
	for (int i = 0; i < DESCRIPTORS; i++)
		most = ours[i] > most ? ours[i] : most;
	return most + 1;
}

static int select_for_input(void)
{
	fd_set readable;
	FD_ZERO(&readable);
	for (int i = 0; i < DESCRIPTORS; i++)
		FD_SET(ours[i], &readable);
	return select(most_of_ours(), &readable, NULL, NULL, &(struct timeval){0});
}

static int poll_for(short events)
{
	struct pollfd watched[DESCRIPTORS];
	for (int i = 0; i < DESCRIPTORS; i++)
		watched[i] = (struct pollfd){.fd = ours[i], .events = events};
	return must(poll(watched, DESCRIPTORS, 0));
}

/* One descriptor with something to read and room to write. */
static void count_twice(int fd)
{
	fd_set readable, writable;
	FD_ZERO(&readable);
	FD_SET(fd, &readable);
	writable = readable;
	facts_open("one_readable_and_writable");
	fact_int("select", must(select(fd + 1, &readable, &writable, NULL, &(struct timeval){0})));
	struct pollfd watched = {.fd = fd, .events = POLLIN | POLLOUT};
	fact_int("poll", must(poll(&watched, 1, 0)));
	fact_bool("poll_told_both", watched.revents == (POLLIN | POLLOUT));
	facts_close();
}

/* Of the ten, one is closed; four are ready as before. */
static void count_closed(void)
{
	close(ours[DESCRIPTORS - 1]);
	facts_open("four_ready_one_not_open");
	int returned = select_for_input();
	fact_int("select", returned);
	fact_error("select_error", returned < 0 ? errno : 0);
	fact_int("poll", poll_for(POLLIN));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "What select() counts, and what poll() counts.");
	for (int i = 0; i < DESCRIPTORS; i++) {
		int pair[2];
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	facts_open("none_of_ten");
	fact_int("select", must(select_for_input()));
	fact_int("poll", poll_for(POLLIN));
	facts_close();

	for (int i = 0; i < READY; i++)
		probe_write(theirs[i], 1);
	facts_open("four_of_ten");
	fact_int("select", must(select_for_input()));
	fact_int("poll", poll_for(POLLIN));
	facts_close();

	count_twice(ours[0]);
	count_closed();
	return probe_end();
}
