/* busy_poll: one thread that never waits: nonblocking reads, round and round.
 *
 * A round asks every client in turn: recv where bytes are wanted, send where bytes are owed, and now and then
 * the listener. A call that would block returns EAGAIN at once, and the round goes on. Nothing watches the
 * descriptors and nothing wakes the thread, so nobody pays for a wake-up: with one client the bytes are met by
 * a recv that is on its way already. The price is a whole CPU, busy or idle, and a round that costs a system
 * call for every client, however few have anything to say: a client waits for half a round on average, and the
 * more there are, the longer.
 *
 * Interest is not declared to anyone: what a connection wants is looked up when its turn comes.
 *
 * Per request, one connection at a time: recv... (it fails until the bytes are there), accept4... (now
 * and then), send.
 * A round counts as a wake-up, a call that moved something as an event, one that would block as eagain.
 * Needs nothing beyond POSIX but accept4, and a CPU that nobody else wants.
 * Try: build/servers/busy_poll --protocol http --port 8080, then curl http://127.0.0.1:8080/ and look at top
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

enum {
	CLIENTS_PER_LOOK = 16, /* asked between two looks at the door */
	ACCEPTS_PER_LOOK = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_ROUND = 16,  /* nor may one client's sends and work starve the others */
};

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd;
static unsigned asked; /* clients, since the last look at the door */
static bool accepting = true;
static uint8_t received[65536];

static void accept_clients(void);
static void open_client(int fd);
static void serve_clients(void);
static void serve_client(struct client *client);
static bool receive(struct client *client);
static void advance(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "busy_poll",
	.thesis = "One thread never waits: it asks every client in turn, and a call that would block fails at "
		  "once.",
	.needs = "",
	.exceptions = {"spins"},
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	sigprocmask(SIG_SETMASK, &server_wait_mask, NULL); /* no call here can sleep through a stop */
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		counters.wakeups++;
		if (accepting && (asked >= CLIENTS_PER_LOOK || LIST_EMPTY(&clients)))
			accept_clients();
		serve_clients();
		resume_expired();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* Not in every round of a few clients: a failed accept4 costs several failed reads, since the kernel makes a
 * socket before it looks for one in the queue. Without descriptors left it is given up until a client of ours
 * closes; without any, the next round may find room. */
static void accept_clients(void)
{
	asked = 0;
	for (int i = 0; i < ACCEPTS_PER_LOOK; i++) {
		int fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN)
			return;
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			accepting = counters.open == 0;
			return;
		}
		counters.events++;
		open_client(fd);
	}
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client: %s", strerror(errno));
	client->fd = fd;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

static void serve_clients(void)
{
	struct client *next;
	for (struct client *client = LIST_FIRST(&clients); client; client = next) {
		next = LIST_NEXT(client, all); /* a client closes only in its own turn */
		asked++;
		serve_client(client);
	}
}

static void serve_client(struct client *client)
{
	if (!(conn_wants(&client->conn) & CONN_RECV) || receive(client))
		advance(client);
}

/* One read in a round: if more is there, the next round finds it, after the others had their turn. False: the
 * client is gone. */
static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	ssize_t n = net_recv(client->fd, received, room < sizeof received ? room : sizeof received);
	if (n == NET_AGAIN) {
		counters.eagain++;
		return true;
	}
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	counters.events++;
	if (n > 0)
		conn_feed(&client->conn, received, (size_t)n);
	else
		conn_eof(&client->conn);
	return true;
}

/* Does what the connection wants until it has to wait, for the peer or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_ROUND; turn++) {
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
				return;
			}
			counters.events++;
			conn_sent(&client->conn, (size_t)n);
			if ((size_t)n < output.len)
				return; /* a short write: the socket is full */
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_DELAY) {
				if (!deadline_is_set(&client->deadline))
					pause_begin(&deadlines, &client->deadline, pause);
				return;
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
			return;
		}
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
	close(client->fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	accepting = true;
}
