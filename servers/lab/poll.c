/* lab/poll: the poll page, with what its scans depend on as options.
 *
 * The kernel looks at every descriptor however the array lies. What it does with one depends on the order: up
 * to the first that is ready it also enters the caller into the wait queue of each, and spares those behind
 * that. What a server pays on top is its own scan of the answers: it can begin at either end, so that busy old
 * clients are found first or last, and it can stop when as many were found as the call said, or go through to
 * the end, as many do.
 *
 * Needs nothing beyond POSIX but ppoll and accept4.
 * Try: build/lab/poll --scan up --stop end
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	struct deadline deadline;
	size_t place; /* in watched and clients */
	int fd;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static struct pollfd *watched; /* the listener at place 0, then a client in each place */
static struct client **clients;
static size_t places, capacity;
static int listen_fd;
static bool accepting;
static uint8_t received[65536];

static struct knob knobs[] = {
	{"scan", "through the answers, from the newest client or from the oldest", .choices = "down|up"},
	{"stop", "scanning, when all that are ready were found or at the array's end", .choices = "found|end"},
	{0},
};
enum { SCAN, STOP };

static void watch_listener(bool on);
static void handle_events(int n);
static void handle_place(size_t place);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void grow(void);
static void handle_client(struct client *client, short ready);
static void receive(struct client *client);
static void advance(struct client *client);
static void set_interest(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "poll",
	.thesis = "The poll page: what does its own scan of the answers cost, beside the kernel's?",
	.needs = "",
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	grow();
	watch_listener(true);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct timespec timeout;
		int n = ppoll(watched, places, pause_timeout(&deadlines, &timeout), &server_wait_mask);
		if (n < 0 && errno != EINTR)
			die("ppoll: %s", strerror(errno));
		counters.wakeups++;
		handle_events(n);
		resume_expired();
	}

	while (places > 1)
		close_client(clients[places - 1]);
	close(listen_fd);
	free(watched);
	free(clients);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	watched[0] = (struct pollfd){.fd = on ? listen_fd : -1, .events = POLLIN}; /* poll passes over fd -1 */
	accepting = on;
}

/* A closed client's place is taken by the last one. From the last place down, that one then had its turn; from
 * the first place up, it is looked at where it came to. New clients come last, and nothing is known of them
 * yet.
 */
static void handle_events(int n)
{
	bool to_the_end = knobs[STOP].value && n > 0;
	if (knobs[SCAN].value == 0) {
		for (size_t place = places; place-- > 0 && (n > 0 || to_the_end);)
			if (watched[place].revents && n-- > 0)
				handle_place(place);
		return;
	}
	for (size_t place = 0; place < places && (n > 0 || to_the_end);) {
		struct client *here = clients[place];
		if (watched[place].revents && n-- > 0)
			handle_place(place);
		if (place >= places || clients[place] == here)
			place++;
	}
}

static void handle_place(size_t place)
{
	counters.events++;
	if (place > 0)
		handle_client(clients[place], watched[place].revents);
	else
		accept_clients();
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
	if (!client)
		die("no memory for another client");
	if (places == capacity)
		grow();
	client->fd = fd;
	client->place = places++;
	clients[client->place] = client;
	watched[client->place] = (struct pollfd){.fd = fd, .events = POLLIN};
	conn_open(&client->conn, &core);
	count_open(&counters);
}

static void grow(void)
{
	places = places ? places : 1; /* the listener's */
	capacity = capacity ? 2 * capacity : 64;
	watched = realloc(watched, capacity * sizeof *watched);
	clients = realloc(clients, capacity * sizeof *clients);
	if (!watched || !clients)
		die("no memory for %zu clients", capacity);
}

static void handle_client(struct client *client, short ready)
{
	unsigned wants = conn_wants(&client->conn);
	if (wants & CONN_RECV && ready & (POLLIN | POLLHUP | POLLERR))
		receive(client);
	else if (ready & (POLLHUP | POLLERR) && !(wants & CONN_SEND))
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
	short interest = wants & CONN_RECV ? POLLIN : 0;
	if (wants != CONN_RECV && !deadline_is_set(&client->deadline))
		interest |= POLLOUT;
	watched[client->place].events = interest;
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
	close(client->fd);
	size_t place = client->place, last = --places;
	watched[place] = watched[last];
	clients[place] = clients[last];
	clients[place]->place = place;
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
