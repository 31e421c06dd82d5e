/* nonblocking_connect: how does a program learn that its connection is made?
 *
 * A connect() that may not block starts the handshake and fails with EINPROGRESS, even over loopback, where the
 * handshake is over by then. Success and failure are both told as writability: whoever waits for writability
 * wakes up either way, and asks SO_ERROR which it was. (It is fetched once: asking clears it.) A failure also
 * shows as POLLERR and POLLHUP, unasked, and as readable. While the handshake is under way nothing is told, and
 * a further connect() fails with EALREADY; after it the first succeeds, and others fail with EISCONN.
 *
 * The one that stays under way knocks at a listener whose queue is full: its SYN is not answered.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_error(int fd, const struct sockaddr_in *address)
{
	return connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
}

static int pending_error(int fd)
{
	int error;
	must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
	return error;
}

static short told(int fd, int patience_ms)
{
	struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
	must(poll(&one, 1, patience_ms));
	return one.revents;
}

static void select_tells(int fd)
{
	fd_set readable, writable;
	FD_ZERO(&readable);
	FD_SET(fd, &readable);
	writable = readable;
	must(select(fd + 1, &readable, &writable, NULL, &(struct timeval){0}));
	fact_bool("select_readable", FD_ISSET(fd, &readable));
	fact_bool("select_writable", FD_ISSET(fd, &writable));
}

static void knock(const char *key, const struct sockaddr_in *address, int patience_ms)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	facts_open(key);
	fact_error("connect", connect_error(fd, address));
	short events = told(fd, patience_ms);
	fact_bool("pollout", events & POLLOUT);
	fact_bool("pollin", events & POLLIN);
	fact_bool("pollerr", events & POLLERR);
	fact_bool("pollhup", events & POLLHUP);
	select_tells(fd);
	fact_error("so_error", pending_error(fd));
	fact_error("so_error_again", pending_error(fd));
	fact_error("connect_again", connect_error(fd, address));
	fact_error("connect_once_more", connect_error(fd, address));
	facts_close();
	close(fd);
}

/* A queue of length 0 holds one; more are not answered. Some, as the kernel is free to be generous. */
static void fill_queue(const struct sockaddr_in *address)
{
	for (int i = 0; i < 4; i++)
		connect_error(must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), address);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"A connect() that does not block: how success, refusal and no answer are told.");
	struct sockaddr_in open_address, closed_address, full_address;
	probe_listen(8, &open_address);
	close(probe_listen(8, &closed_address));
	probe_listen(0, &full_address);
	fill_queue(&full_address);

	knock("accepted", &open_address, 1000);
	knock("refused", &closed_address, 1000);
	knock("not_answered", &full_address, 100);
	return probe_end();
}
