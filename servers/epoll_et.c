/* epoll_et: one thread, edge-triggered epoll.
 *
 * The kernel reports a change of readiness once. The page remembers what it was told, until a call proves
 * otherwise: a read shorter than asked has drained the socket, a short write has filled it, and a new edge
 * follows. So interest is declared once, for reading and writing, and never changed: no epoll_ctl per request,
 * whatever happens. The price is that the memory is ours. A connection that stops wanting to read, or whose
 * turns are used up, gets no second event: it is read at once when it wants again, or queued to be called again
 * before the next wait.
 *
 * Per request, one connection at a time: epoll_pwait2, recv, send.
 * Needs Linux 5.11 (epoll_pwait2, for timeouts in nanoseconds).
 * Try: build/servers/epoll_et --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;
	bool readable, writable; /* as far as we know */
	bool ended;              /* the peer's FIN or reset is there to be read: no short read drains it */
	bool queued;
	TAILQ_ENTRY(client) again;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static TAILQ_HEAD(queue, client) queue; /* more to do, and no event to come */
static int listen_fd, epoll_fd;
static bool accepting;
static uint8_t received[65536];

static const struct timespec *next_timeout(struct timespec *timeout);
static void watch_listener(bool on);
static void handle_events(struct epoll_event *events, int n);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void handle_client(struct client *client, uint32_t ready);
static void advance(struct client *client);
static bool receive(struct client *client);
static bool send_output(struct client *client);
static void begin_pause(struct client *client);
static void resume_queued(void);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "epoll_et",
	.thesis = "One thread waits in edge-triggered epoll: readiness is told once, and remembered here.",
	.needs = "Linux 5.11",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1: %s", strerror(errno));
	watch_listener(true);
	TAILQ_INIT(&queue);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct epoll_event events[EVENTS_PER_WAIT];
		struct timespec timeout;
		int n = epoll_pwait2(
			epoll_fd, events, EVENTS_PER_WAIT, next_timeout(&timeout), &server_wait_mask);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		counters.wakeups++;
		handle_events(events, n);
		resume_queued();
		resume_expired();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	close(epoll_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static const struct timespec *next_timeout(struct timespec *timeout)
{
	static const struct timespec now;
	return TAILQ_EMPTY(&queue) ? pause_timeout(&deadlines, timeout) : &now;
}

/* The listener stays level-triggered, so that a bounded number of accepts leaves the rest reported. Without
 * descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, &event) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	accepting = on;
}

/* A wait reports a descriptor once, and a client is closed only on its own event: none that follows can be
 * stale. */
static void handle_events(struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		counters.events++;
		if (events[i].data.ptr)
			handle_client(events[i].data.ptr, events[i].events);
		else
			accept_clients();
	}
}

static void accept_clients(void)
{
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
	if (counters.open > 0)
		watch_listener(false);
	else
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
	if (!client || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
	client->fd = fd;
	client->writable = true;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

static void handle_client(struct client *client, uint32_t ready)
{
	if (ready & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->readable = true;
	if (ready & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		client->writable = true;
	if (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->ended = true;
	if (ready & (EPOLLHUP | EPOLLERR) && !(conn_wants(&client->conn) & (CONN_RECV | CONN_SEND)))
		close_client(client); /* reset while it waits for nothing of ours */
	else
		advance(client);
}

/* Does what the connection wants until it has to wait, for an edge or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND && client->writable) {
			if (!send_output(client))
				return;
		} else if (wants & CONN_RECV && client->readable) {
			if (!receive(client))
				return;
		} else if (wants & CONN_PAUSE && !deadline_is_set(&client->deadline)) {
			begin_pause(client);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(client);
			return;
		} else {
			return;
		}
	}
	if (!client->queued)
		TAILQ_INSERT_TAIL(&queue, client, again);
	client->queued = true;
}

/* False: the client is gone. */
static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	size_t size = room < sizeof received ? room : sizeof received;
	ssize_t n = net_recv(client->fd, received, size);
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	if (n == NET_AGAIN) {
		counters.eagain++;
		client->readable = false;
	} else if (n == 0) {
		conn_eof(&client->conn);
	} else {
		conn_feed(&client->conn, received, (size_t)n);
		client->readable = (size_t)n == size || client->ended;
	}
	return true;
}

/* False: the client is gone. */
static bool send_output(struct client *client)
{
	struct span output = conn_output(&client->conn);
	ssize_t n = net_send(client->fd, output);
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	if (n == NET_AGAIN) {
		counters.eagain++;
		client->writable = false;
	} else {
		conn_sent(&client->conn, (size_t)n);
		client->writable = (size_t)n == output.len;
	}
	return true;
}

static void begin_pause(struct client *client)
{
	struct pause pause = conn_pause(&client->conn);
	if (pause.kind == PAUSE_DELAY) {
		pause_begin(&deadlines, &client->deadline, pause);
		return;
	}
	pause_here(pause);
	conn_did(&client->conn, CONN_PAUSE);
}

/* Each queued client once: those that queue again wait for their turn behind the next events. */
static void resume_queued(void)
{
	struct queue round = TAILQ_HEAD_INITIALIZER(round);
	TAILQ_CONCAT(&round, &queue, again);
	struct client *client;
	while ((client = TAILQ_FIRST(&round))) {
		TAILQ_REMOVE(&round, client, again);
		client->queued = false;
		advance(client);
	}
}

static void resume_expired(void)
{
	struct deadline *deadline;
	while ((deadline = pause_expired(&deadlines))) {
		struct client *client = (struct client *)((char *)deadline - offsetof(struct client, deadline));
		conn_did(&client->conn, CONN_PAUSE);
		advance(client);
	}
}

static void close_client(struct client *client)
{
	deadline_clear(&deadlines, &client->deadline);
	conn_drop(&client->conn);
	close(client->fd); /* which also takes it out of the kernel's set */
	LIST_REMOVE(client, all);
	if (client->queued)
		TAILQ_REMOVE(&queue, client, again);
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
