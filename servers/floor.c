/* floor: one blocking connection whose next request is there already. The least an exchange can cost.
 *
 * One recv finds a request, one send answers it: two system calls and nothing else. No wait, since the next
 * request has come before this one is answered; no core, since an echo owes just what it got; the bytes leave
 * from the place they came to. No model that receives and sends can do with less, and what any of them costs
 * above this page is the price of its waiting. (Less than two calls for an exchange is batching, and several
 * models do it under load; io_uring alone has another way into the kernel.)
 *
 * The client does its part by keeping several requests under way: loadgen --connections 1 --depth 16 --size 64.
 * With one under way at a time recv sleeps until it comes, and this is `blocking` without its core. The page
 * does its part by asking for REQUEST_BYTES in a read, loadgen's own size: one read takes one request, however
 * many have come. Any other size is echoed as rightly, in pieces that are no longer its requests.
 *
 * A floor serves nobody else meanwhile, and speaks no protocol in which it had to look at a byte.
 *
 * Per request, one connection at a time: recv, send.
 * Needs nothing beyond POSIX but accept4.
 * Try: build/servers/floor --port 7000, then build/loadgen --target 127.0.0.1:7000 --connections 1 --depth 16
 */
#include "net.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 64,
	RETRY_MS = 100,
};

static struct counters counters;
static uint64_t requests;
static int listen_fd;
static volatile sig_atomic_t client_fd = -1; /* -1: nobody is being served */

static void let_stops_in(void);
static void accept_client(void);
static void serve_client(void);
static bool send_all(struct span span);
static void lost(void);

static const struct model model = {
	.name = "floor",
	.thesis = "One blocking connection whose next request is there already: a recv, a send, nothing else.",
	.needs = "requests of 64 bytes, several of them under way",
	.clients_at_once = 1,
	.protocols = 1U << PROTOCOL_ECHO,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, 0);
	server_ready(listen_fd, &options);
	let_stops_in();

	while (!server_stopping)
		accept_client();

	close(listen_fd);
	return server_report(&counters, requests);
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

/* The exchange. Whatever stands in this loop is part of every model's yardstick. */
static void serve_client(void)
{
	uint8_t request[REQUEST_BYTES];
	while (!server_stopping) {
		ssize_t n = net_recv(client_fd, request, sizeof request);
		if (n == NET_AGAIN)
			continue; /* a signal */
		if (n == NET_FAILED)
			lost();
		if (n <= 0 || !send_all((struct span){request, (size_t)n}))
			return;
		requests++;
	}
}

/* A blocking send takes all it is given, unless a signal cuts it short. */
static bool send_all(struct span span)
{
	while (span.len > 0) {
		ssize_t n = net_send(client_fd, span);
		if (n == NET_FAILED) {
			lost();
			return false;
		}
		if (n > 0)
			span = (struct span){span.data + n, span.len - (size_t)n};
	}
	return true;
}

/* What fails after our own shutdown is no error of the peer. */
static void lost(void)
{
	if (!server_stopping)
		count_error(&counters);
}
