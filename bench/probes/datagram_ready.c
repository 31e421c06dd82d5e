/* datagram_ready: what does readiness promise for datagrams?
 *
 * A stream that is read in part stays ready. A datagram does not: what does not fit the buffer is thrown away
 * (MSG_TRUNC in the flags says so), and the next read is the next datagram, or EAGAIN. MSG_PEEK takes nothing,
 * so the socket stays ready. An empty datagram is ready, too, and read as 0 bytes, which on a stream would be
 * the end. And readiness is nobody's own: two waiters on one socket are both told of one datagram, the first
 * takes it, and the second gets EAGAIN, or sleeps, had it left the socket blocking.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SENT = 1024, ROOM = 500 };

static int sender, receiver;

static void open_pair(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	receiver = must(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	must(bind(receiver, (struct sockaddr *)&address, sizeof address));
	must(getsockname(receiver, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
	sender = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	must(connect(sender, (struct sockaddr *)&address, sizeof address));
}

static void send_one(size_t bytes)
{
	static char text[SENT];
	must(send(sender, text, bytes, 0));
	if (!probe_ready(receiver, POLLIN, 1000))
		probe_fail("a datagram over loopback did not arrive within a second");
}

static int receive_error(void)
{
	char byte;
	return recv(receiver, &byte, 1, 0) < 0 ? errno : 0;
}

static void read_in_part(void)
{
	char buffer[ROOM];
	struct iovec room = {buffer, sizeof buffer};
	struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
	send_one(SENT);
	facts_open("read_in_part");
	fact_int("bytes", must(recvmsg(receiver, &message, 0)));
	fact_bool("truncated", message.msg_flags & MSG_TRUNC);
	fact_bool("ready_again", probe_ready(receiver, POLLIN, 0));
	fact_error("next", receive_error());
	facts_close();
}

static void peeked(void)
{
	char buffer[SENT];
	send_one(SENT);
	facts_open("peeked");
	fact_int("bytes", must(recv(receiver, buffer, sizeof buffer, MSG_PEEK)));
	fact_bool("ready_again", probe_ready(receiver, POLLIN, 0));
	fact_int("bytes_again", must(recv(receiver, buffer, sizeof buffer, 0)));
	fact_bool("ready_after", probe_ready(receiver, POLLIN, 0));
	facts_close();
}

static void empty(void)
{
	char byte;
	send_one(0);
	facts_open("empty");
	fact_bool("ready", probe_ready(receiver, POLLIN, 0));
	fact_int("bytes", must(recv(receiver, &byte, 1, 0)));
	fact_bool("ready_after", probe_ready(receiver, POLLIN, 0));
	facts_close();
}

/* Two epoll sets stand for two processes: what counts is that both ask before either reads. */
static void two_waiters(void)
{
	int told = 0, sets[2];
	for (int i = 0; i < 2; i++) {
		struct epoll_event interest = {.events = EPOLLIN};
		sets[i] = must(epoll_create1(EPOLL_CLOEXEC));
		must(epoll_ctl(sets[i], EPOLL_CTL_ADD, receiver, &interest));
	}
	send_one(1);
	for (int i = 0; i < 2; i++)
		told += must(epoll_wait(sets[i], &(struct epoll_event){0}, 1, 0));
	facts_open("two_waiters");
	fact_int("datagrams", 1);
	fact_int("told", told);
	fact_error("first", receive_error());
	fact_error("second", receive_error());
	facts_close();
	close(sets[0]);
	close(sets[1]);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Datagrams read in part, peeked at, empty, and told to two.");
	open_pair();
	read_in_part();
	peeked();
	empty();
	two_waiters();
	return probe_end();
}
