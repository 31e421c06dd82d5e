/* blocking: one thread, one client at a time.
 *
 * Accept a client, serve it to its end, accept the next. Every call waits until it has something to return, so
 * the kernel is asked for nothing but the bytes themselves: no model needs fewer system calls for a request.
 * The price is the queue. Whoever connects meanwhile waits in the listener's backlog for the whole stay of the
 * client before it, however silent that one is, and however long its delays.
 *
 * While a send waits nothing is read: a client that sends on and never reads stops its own echo, and here
 * everybody else's.
 *
 * Per request, one connection at a time: recv, send.
 * A return from accept or recv counts as a wake-up that brings one event.
 * Needs nothing beyond POSIX.
 * Try: build/servers/blocking --protocol greet --delay 2s --port 8080, then nc 127.0.0.1 8080 twice at once
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RETRY_MS = 100 };

static struct core core;
static struct counters counters;
static int listen_fd;
static volatile sig_atomic_t client_fd = -1; /* -1: nobody is being served */
static uint8_t received[65536];

static void let_stops_in(void);
static void accept_client(void);
static void serve_client(void);
static bool send_output(struct conn *conn);
static bool sleep_or_work(struct conn *conn);
static bool receive(struct conn *conn);
static bool lost(void);

static const struct model model = {
	.name = "blocking",
	.thesis = "One thread waits in each call for the client it serves; all others wait until that one "
		  "leaves.",
	.needs = "",
	.clients_at_once = 1,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, 0);
	server_ready(listen_fd, &options);
	let_stops_in();

	while (!server_stopping)
		accept_client();

	close(listen_fd);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* The flag alone is not enough: a signal that comes after the look at it and before accept or recv would be
 * slept through. After a shutdown no call waits on that socket any more, whether it has begun or not. */
static void on_stop(int signal)
{
	(void)signal;
	int saved_errno = errno;
	server_stopping = 1;
	shutdown(listen_fd, SHUT_RDWR);
	shutdown(client_fd, SHUT_RDWR);
	errno = saved_errno;
}

static void let_stops_in(void)
{
	struct sigaction stop = {.sa_handler = on_stop};
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigprocmask(SIG_SETMASK, &server_wait_mask, NULL);
}

static void accept_client(void)
{
	int fd = net_accept(listen_fd, SOCK_CLOEXEC);
	counters.wakeups++;
	if (fd == NET_AGAIN || (fd == NET_FAILED && server_stopping))
		return;
	if (fd == NET_FAILED)
		die("accept4: %s", strerror(errno));
	if (fd == NET_FULL) { /* nobody is connected: it is not ours to free a descriptor, only to try again */
		count_error(&counters);
		poll(NULL, 0, RETRY_MS);
		return;
	}
	client_fd = fd;
	counters.events++;
	count_open(&counters);
	serve_client();
	client_fd = -1; /* before the number can belong to anyone else */
	close(fd);
	count_close(&counters);
}

/* Does what the connection wants, one thing after the other, until it is over. */
static void serve_client(void)
{
	struct conn conn;
	conn_open(&conn, &core);
	for (bool connected = true; connected && !server_stopping;) {
		unsigned wants = conn_wants(&conn);
		if (wants & CONN_SEND) {
			connected = send_output(&conn);
		} else if (wants & CONN_PAUSE) {
			connected = sleep_or_work(&conn);
		} else if (wants & CONN_SHUT) {
			shutdown(client_fd, SHUT_WR);
			conn_did(&conn, CONN_SHUT);
		} else if (wants & CONN_RECV) {
			connected = receive(&conn);
		} else {
			connected = false; /* CONN_CLOSE */
		}
	}
	conn_drop(&conn);
}

static bool send_output(struct conn *conn)
{
	ssize_t n = net_send(client_fd, conn_output(conn));
	if (n == NET_FAILED)
		return lost();
	if (n > 0)
		conn_sent(conn, (size_t)n);
	return true;
}

static bool sleep_or_work(struct conn *conn)
{
	if (!pause_on(client_fd, conn_pause(conn)))
		return lost();
	conn_did(conn, CONN_PAUSE);
	return true;
}

static bool receive(struct conn *conn)
{
	size_t room = conn_room(conn);
	ssize_t n = net_recv(client_fd, received, room < sizeof received ? room : sizeof received);
	counters.wakeups++;
	if (n == NET_AGAIN)
		return true; /* a signal */
	if (n == NET_FAILED)
		return lost();
	counters.events++;
	if (n > 0)
		conn_feed(conn, received, (size_t)n);
	else
		conn_eof(conn);
	return true;
}

/* What fails after our own shutdown is no error of the peer. Returns false: not connected. */
static bool lost(void)
{
	if (!server_stopping)
		count_error(&counters);
	return false;
}
