/* epoll_lt: one thread, level-triggered epoll.
 *
 * The kernel keeps the set of watched descriptors, and a wait returns only those that are ready: its cost
 * grows with the ready ones, not with the watched ones. Level-triggered: a descriptor is reported by every
 * wait for as long as it is ready, so a page may read as little of it as it likes. Interest is changed only
 * when it differs, because each change is a system call of its own.
 *
 * Per request, one connection at a time: epoll_pwait2, recv, send.
 * Needs Linux 5.11 (epoll_pwait2, for timeouts in nanoseconds).
 * Try: build/servers/epoll_lt --protocol http --port 8080, then curl http://127.0.0.1:8080/
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
	uint32_t interest; /* as the kernel has it */
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd, epoll_fd;
static bool accepting;
static uint8_t received[65536];

static void watch_listener(bool on);
static void handle_events(struct epoll_event *events, int n);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void handle_client(struct client *client, uint32_t ready);
static void receive(struct client *client);
static void advance(struct client *client);
static void set_interest(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "epoll_lt",
	.thesis = "One thread waits in level-triggered epoll: a wait costs by the ready, not the watched.",
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
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct epoll_event events[EVENTS_PER_WAIT];
		struct timespec timeout;
		int n = epoll_pwait2(epoll_fd, events, EVENTS_PER_WAIT, pause_timeout(&deadlines, &timeout),
			&server_wait_mask);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		counters.wakeups++;
		handle_events(events, n);
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

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
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
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	if (!client || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
	client->fd = fd;
	client->interest = EPOLLIN;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

static void handle_client(struct client *client, uint32_t ready)
{
	unsigned wants = conn_wants(&client->conn);
	if (wants & CONN_RECV && ready & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(client);
	else if (ready & (EPOLLHUP | EPOLLERR) && !(wants & CONN_SEND))
		close_client(client); /* reset while it waits for nothing of ours: HUP would be reported for
					 ever */
	else
		advance(client);
}

/* One read for an event: if more is there, the next wait says so, after the others had their turn. */
static void receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	ssize_t n = net_recv(client->fd, received, room < sizeof received ? room : sizeof received);
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
			ssize_t n = net_send(client->fd, output);
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
				if (!deadline_is_set(&client->deadline))
					pause_begin(&deadlines, &client->deadline, pause);
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
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

/* Writability is asked for only after EAGAIN; or when the turns are used up, to be called again at once. */
static void set_interest(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	uint32_t interest = wants & CONN_RECV ? EPOLLIN : 0;
	if (wants != CONN_RECV && !deadline_is_set(&client->deadline))
		interest |= EPOLLOUT;
	if (interest == client->interest)
		return;
	struct epoll_event event = {.events = interest, .data.ptr = client};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
	client->interest = interest;
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
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
