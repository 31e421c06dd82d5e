/* out_of_band: who hears of urgent data?
 *
 * TCP has one urgent byte: send(MSG_OOB) marks it, the receiver takes it out of the stream and keeps it aside.
 * It is what select()'s third set is for; poll() and epoll call it POLLPRI; and the socket's owner (F_SETOWN)
 * gets SIGURG, without O_ASYNC. A plain read passes it by: it stops at the mark, and SIOCATMARK says that it
 * stands there. There is one byte at a time: a second one takes the place of the first, which then falls back
 * into the stream.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Signals that have been queued for us since, at most one: SIGURG is a standard one. */
static bool take_signal(const sigset_t *blocked)
{
	return sigtimedwait(blocked, NULL, &(struct timespec){0}) == SIGURG;
}

static void who_hears(const char *key, int fd, const sigset_t *blocked)
{
	facts_open(key);
	fact_bool("sigurg", take_signal(blocked));
	fact_bool("select_exceptional", probe_select(fd, POLLPRI));
	fact_bool("poll_pri", probe_ready(fd, POLLPRI, 0));
	fact_bool("epoll_pri", probe_epoll(fd, EPOLLPRI, 0) == EPOLLPRI);
	fact_bool("poll_in", probe_ready(fd, POLLIN, 0));
	facts_close();
}

static void read_on(int fd)
{
	char stream[16], urgent;
	int at_mark;
	facts_open("reading");
	fact_int("before_the_mark", must(read(fd, stream, sizeof stream)));
	must(ioctl(fd, SIOCATMARK, &at_mark));
	fact_bool("at_mark", at_mark);
	fact_int("urgent", must(recv(fd, &urgent, 1, MSG_OOB)));
	fact_int("urgent_again", recv(fd, &urgent, 1, MSG_OOB));
	fact_bool("poll_pri_after", probe_ready(fd, POLLPRI, 0));
	probe_ready(fd, POLLIN, 1000); /* sent after the urgent byte, and may arrive after it */
	fact_int("behind_the_mark", must(read(fd, stream, sizeof stream)));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Urgent data of TCP: SIGURG, select()'s third set, POLLPRI, and the mark in the stream.");
	int pair[2];
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGURG);
	must(sigprocmask(SIG_BLOCK, &blocked, NULL));
	probe_tcp_pair(pair); /* SIGURG is ignored by default, but a blocked signal is queued nevertheless */
	probe_nonblock(pair[0], true);
	must(fcntl(pair[0], F_SETOWN, getpid()));

	must(send(pair[1], "abc", 3, 0));
	if (!probe_ready(pair[0], POLLIN, 1000))
		probe_fail("three bytes over loopback did not arrive within a second");
	who_hears("plain_data", pair[0], &blocked);

	must(send(pair[1], "!", 1, MSG_OOB));
	must(send(pair[1], "de", 2, 0));
	if (!probe_ready(pair[0], POLLPRI, 1000))
		probe_fail("urgent data over loopback did not arrive within a second");
	who_hears("urgent_data", pair[0], &blocked);
	read_on(pair[0]);
	return probe_end();
}
