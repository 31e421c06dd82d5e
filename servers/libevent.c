/* libevent: one thread, callbacks of libevent's loop over level-triggered epoll.
 *
 * Plain events rather than bufferevents: these would copy every byte into their own buffers, where the core has
 * it in its own already. An event stands for "this descriptor, this readiness, this function" and lives in the
 * client. One is for reading and persists; the other stands for whatever else the client waits for, room to
 * write or the end of a delay, which are never both. With a change list, events added and removed between two
 * waits reach the kernel as one change, if any. In return each event passes through a queue of callbacks, and
 * the loop reads the clock around each wait.
 *
 * Its clock is the kernel's coarse one, which stands still for some milliseconds: a timer may end early by that
 * much, so a delay's end is looked up on the real clock, and waited for once more if it has not come. The
 * precise timer that libevent offers instead is a timerfd set anew for every wait, whether anybody has a delay
 * or not: a third more system calls for each request.
 *
 * Per request, one connection at a time: epoll_wait, recv, send.
 * Needs libevent 2.1. pkg-config: libevent_core
 * Try: build/servers/libevent --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "clock.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

enum {
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	LIST_ENTRY(client) all;
	struct event readable, later;
	uint64_t until_ns;              /* the end of the delay */
	bool reading, writing, delayed; /* which of them are added, and the latter as what */
};

static struct core core;
static struct counters counters;
static LIST_HEAD(, client) clients;
static struct event_base *base;
static struct event listener;
static bool accepting = true;
static uint8_t received[65536];

static struct event_base *make_base(void);
static void on_stop(evutil_socket_t signal, short what, void *unused);
static void on_listener(evutil_socket_t fd, short what, void *unused);
static void wait_for_room(void);
static void open_client(int fd);
static void on_readable(evutil_socket_t fd, short what, void *client);
static void on_writable(evutil_socket_t fd, short what, void *client);
static void on_delay(evutil_socket_t fd, short what, void *client);
static void advance(struct client *client);
static void begin_delay(struct client *client, uint64_t delay_ns);
static void wait_for_end(struct client *client, uint64_t left_ns);
static void set_interest(struct client *client);
static void add(struct event *event, const struct timeval *timeout);
static void close_client(struct client *client);

static const struct model model = {
	.name = "libevent",
	.thesis = "One thread runs libevent's callbacks over level-triggered epoll: plain events, and a change "
		  "list.",
	.needs = "libevent 2.1",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	int listen_fd = server_start(&options, SOCK_NONBLOCK);
	base = make_base();
	struct event terminate, interrupt;
	event_assign(&terminate, base, SIGTERM, EV_SIGNAL | EV_PERSIST, on_stop, NULL);
	event_assign(&interrupt, base, SIGINT, EV_SIGNAL | EV_PERSIST, on_stop, NULL);
	event_assign(&listener, base, listen_fd, EV_READ | EV_PERSIST, on_listener, NULL);
	add(&terminate, NULL);
	add(&interrupt, NULL);
	add(&listener, NULL);
	sigprocmask(SIG_SETMASK, &server_wait_mask,
		NULL); /* libevent's handlers are there: it takes them from here */
	server_ready(listen_fd, &options);

	while (!event_base_got_break(base)) { /* a turn of the loop for each call, to count the waits */
		event_base_loop(base, EVLOOP_ONCE);
		counters.wakeups++;
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	event_del(&listener);
	event_del(&terminate);
	event_del(&interrupt);
	event_base_free(base);
	libevent_global_shutdown();
	close(listen_fd);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	if (!config)
		die("no memory for libevent");
	event_config_set_flag(config,
		EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	event_config_avoid_method(config, "select");
	event_config_avoid_method(config, "poll");
	struct event_base *made = event_base_new_with_config(config);
	event_config_free(config);
	if (!made)
		cannot_run("libevent has no epoll here");
	return made;
}

static void on_stop(evutil_socket_t signal, short what, void *unused)
{
	(void)signal, (void)what, (void)unused;
	event_base_loopbreak(base);
}

static void on_listener(evutil_socket_t listen_fd, short what, void *unused)
{
	(void)what, (void)unused;
	counters.events++;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
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
	if (counters.open == 0) {
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
		return;
	}
	event_del(&listener);
	accepting = false;
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	event_assign(&client->readable, base, fd, EV_READ | EV_PERSIST, on_readable, client);
	add(&client->readable, NULL);
	client->reading = true;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

/* One read for an event: if more is there, the next wait says so, after the others had their turn. */
static void on_readable(evutil_socket_t fd, short what, void *argument)
{
	(void)what;
	struct client *client = argument;
	counters.events++;
	size_t room = conn_room(&client->conn);
	if (room == 0) /* what came before in this turn of the loop has filled it */
		return;
	ssize_t n = net_recv(fd, received, room < sizeof received ? room : sizeof received);
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

static void on_writable(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	struct client *client = argument;
	counters.events++;
	client->writing = false;
	advance(client);
}

static void on_delay(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	struct client *client = argument;
	client->delayed = false;
	uint64_t now_ns = clock_now_ns();
	if (now_ns < client->until_ns) {
		wait_for_end(client, client->until_ns - now_ns);
		return;
	}
	conn_did(&client->conn, CONN_PAUSE);
	advance(client);
}

/* Does what the connection wants until it has to wait, for the peer or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			struct span output = conn_output(&client->conn);
			ssize_t n = net_send(event_get_fd(&client->readable), output);
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
				if (!client->delayed)
					begin_delay(client, pause.amount);
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			shutdown(event_get_fd(&client->readable), SHUT_WR);
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
	client->until_ns = clock_now_ns() + delay_ns;
	wait_for_end(client, delay_ns);
}

/* Rounded up to the microseconds that libevent counts in. */
static void wait_for_end(struct client *client, uint64_t left_ns)
{
	uint64_t us = (left_ns + 999) / 1000;
	struct timeval left = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
	event_assign(&client->later, base, -1, 0, on_delay, client);
	add(&client->later, &left);
	client->delayed = true;
}

/* Writability is asked for only after EAGAIN; or when the turns are used up, to be called again at once. */
static void set_interest(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	bool read = wants & CONN_RECV, write = wants != CONN_RECV && !client->delayed;
	if (read && !client->reading)
		add(&client->readable, NULL);
	if (!read && client->reading)
		event_del(&client->readable);
	client->reading = read;
	if (write && !client->writing) {
		int fd = event_get_fd(&client->readable);
		event_assign(&client->later, base, fd, EV_WRITE, on_writable, client);
		add(&client->later, NULL);
	}
	if (!write && client->writing)
		event_del(&client->later);
	client->writing = write;
}

static void add(struct event *event, const struct timeval *timeout)
{
	if (event_add(event, timeout) != 0)
		die("libevent's event_add: %s", strerror(errno));
}

static void close_client(struct client *client)
{
	if (client->delayed || client->writing)
		event_del(&client->later);
	event_del(&client->readable);
	conn_drop(&client->conn);
	close(event_get_fd(&client->readable));
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	if (!accepting)
		add(&listener, NULL);
	accepting = true;
}
