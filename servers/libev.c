/* libev: one thread, callbacks of libev's loop over level-triggered epoll.
 *
 * What a library adds to epoll_lt.c: watchers, small structures that stand for "this descriptor, these events,
 * this function" and live in the client; a heap of timers; and the bookkeeping that joins them. A change of
 * interest is only noted, and reaches the kernel before the next wait: what is changed back in between costs no
 * system call. In return each event is an indirect call, and the clock is read before and after each wait.
 *
 * Watchers are embedded and started by the page; libev allocates nothing per client but its tables by
 * descriptor. Timers count in seconds as floating point, from a clock that stands still while callbacks run: it
 * is brought up to date before a delay begins, or the delay would be early. The wait itself is epoll_wait's, in
 * milliseconds, rounded up: a delay ends up to one late.
 *
 * Per request, one connection at a time: epoll_wait, recv, send.
 * Needs libev 4. libraries: ev
 * Try: build/servers/libev --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

enum {
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	LIST_ENTRY(client) all;
	struct ev_io io;
	struct ev_timer timer;
};

static struct core core;
static struct counters counters;
static LIST_HEAD(, client) clients;
static struct ev_loop *loop;
static struct ev_io listener;
static uint8_t received[65536];

static void on_stop(struct ev_loop *, struct ev_signal *, int events);
static void on_listener(struct ev_loop *, struct ev_io *, int events);
static void wait_for_room(void);
static void open_client(int fd);
static void on_client(struct ev_loop *, struct ev_io *, int events);
static void on_timer(struct ev_loop *, struct ev_timer *, int events);
static void receive(struct client *client);
static void advance(struct client *client);
static void begin_delay(struct client *client, uint64_t delay_ns);
static void set_interest(struct client *client);
static void close_client(struct client *client);

static const struct model model = {
	.name = "libev",
	.thesis = "One thread runs libev's callbacks over level-triggered epoll: watchers, and changes of "
		  "interest "
		  "batched.",
	.needs = "libev",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	int listen_fd = server_start(&options, SOCK_NONBLOCK);
	loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!loop)
		cannot_run("libev has no epoll here: ev_loop_new(EVBACKEND_EPOLL) failed");
	struct ev_signal terminate, interrupt;
	ev_signal_init(&terminate, on_stop, SIGTERM);
	ev_signal_init(&interrupt, on_stop, SIGINT);
	ev_io_init(&listener, on_listener, listen_fd, EV_READ);
	ev_signal_start(loop, &terminate);
	ev_signal_start(loop, &interrupt);
	ev_io_start(loop, &listener);
	sigprocmask(
		SIG_SETMASK, &server_wait_mask, NULL); /* libev's handlers are there: it takes them from here */
	server_ready(listen_fd, &options);

	ev_run(loop, 0);
	counters.wakeups = ev_iteration(loop);

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	ev_loop_destroy(loop);
	close(listen_fd);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void on_stop(struct ev_loop *unused, struct ev_signal *signal, int events)
{
	(void)unused, (void)signal, (void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void on_listener(struct ev_loop *unused, struct ev_io *io, int events)
{
	(void)unused, (void)events;
	counters.events++;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = net_accept(io->fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN)
			return;
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			wait_for_room();
			return;
		}
		open_client(fd);
	}
}

/* A client of ours that closes makes room. Without any, others hold what is missing, and a short sleep keeps
 * nobody waiting. */
static void wait_for_room(void)
{
	if (counters.open > 0)
		ev_io_stop(loop, &listener);
	else
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	ev_io_init(&client->io, on_client, fd, EV_READ);
	ev_timer_init(&client->timer, on_timer, 0, 0);
	ev_io_start(loop, &client->io);
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

/* libev folds EPOLLHUP and EPOLLERR into whatever is watched: the next call on the socket says which it was. */
static void on_client(struct ev_loop *unused, struct ev_io *io, int events)
{
	(void)unused;
	struct client *client = (struct client *)((char *)io - offsetof(struct client, io));
	counters.events++;
	if (events & EV_READ && conn_wants(&client->conn) & CONN_RECV)
		receive(client);
	else
		advance(client);
}

static void on_timer(struct ev_loop *unused, struct ev_timer *timer, int events)
{
	(void)unused, (void)events;
	struct client *client = (struct client *)((char *)timer - offsetof(struct client, timer));
	conn_did(&client->conn, CONN_PAUSE);
	advance(client);
}

/* One read for an event: if more is there, the next wait says so, after the others had their turn. */
static void receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	ssize_t n = net_recv(client->io.fd, received, room < sizeof received ? room : sizeof received);
	if (n == NET_AGAIN) {
		counters.eagain++;
		return;
	}
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return;
	}
	if (n > 0)
		conn_feed(&client->conn, received, (size_t)n);
	else
		conn_eof(&client->conn);
	advance(client);
}

/* Does what the connection wants until it has to wait, for the peer or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			struct span output = conn_output(&client->conn);
			ssize_t n = net_send(client->io.fd, output);
			if (n == NET_FAILED) {
				count_error(&counters);
				close_client(client);
				return;
			}
			if (n == NET_AGAIN) {
				counters.eagain++;
				break;
			}
			conn_sent(&client->conn, (size_t)n);
			if ((size_t)n < output.len)
				break; /* a short write: the socket is full */
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_DELAY) {
				if (!ev_is_active(&client->timer))
					begin_delay(client, pause.amount);
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			shutdown(client->io.fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(client);
			return;
		} else {
			break;
		}
	}
	set_interest(client);
}

static void begin_delay(struct client *client, uint64_t delay_ns)
{
	ev_now_update(loop);
	ev_timer_set(&client->timer, (double)delay_ns / 1e9, 0);
	ev_timer_start(loop, &client->timer);
}

/* Writability is asked for only after EAGAIN; or when the turns are used up, to be called again at once. */
static void set_interest(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	int interest = wants & CONN_RECV ? EV_READ : 0;
	if (wants != CONN_RECV && !ev_is_active(&client->timer))
		interest |= EV_WRITE;
	if (interest == (client->io.events & (EV_READ | EV_WRITE)))
		return;
	ev_io_stop(loop, &client->io);
	ev_io_set(&client->io, client->io.fd, interest);
	if (interest)
		ev_io_start(loop, &client->io);
}

static void close_client(struct client *client)
{
	ev_timer_stop(loop, &client->timer);
	ev_io_stop(loop, &client->io);
	conn_drop(&client->conn);
	close(client->io.fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	if (!ev_is_active(&listener))
		ev_io_start(loop, &listener);
}
