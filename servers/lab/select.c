/* lab/select: the select page, with the habits of other select servers as options.
 *
 * Most keep to fd_set and its 1,024 descriptors, many pass all three sets in every call, and most look at one
 * bit after the other. The page itself does none of this; here it can be told to.
 *
 * Needs nothing beyond POSIX, but for more than FD_SETSIZE descriptors Linux.
 * Try: build/lab/select --sets fixed --pass all --scan bit
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	WORD_BITS = 64,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	struct deadline deadline;
	int fd;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static uint64_t *watched_read, *watched_write; /* what we wait for */
static uint64_t *ready_read, *ready_write;     /* the copies that a wait returns in */
static size_t writers;                         /* bits in watched_write */
static struct client **clients;                /* by descriptor */
static int capacity, highest_fd;
static int listen_fd;
static bool accepting;
static uint8_t received[65536];
static uint64_t *ready_except; /* for --pass all; nothing is ever wanted in it */

static struct knob knobs[] = {
	{"sets", "as long as they have to be, or fd_set with its 1,024 descriptors", .choices = "grown|fixed"},
	{"pass", "the sets that somebody is in, or all three", .choices = "needed|all"},
	{"scan", "the answer by words of 64 bits, or bit by bit", .choices = "word|bit"},
	{0},
};
enum { SETS, PASS, SCAN };

static void keep_within_fd_set(void);
static void watch_listener(bool on);
static bool has_bit(const uint64_t *set, int fd);
static void set_bit(uint64_t *set, int fd, bool on);
static void handle_events(int n);
static int handle_bit(int fd);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void grow(void);
static void handle_client(struct client *client, bool readable);
static void receive(struct client *client);
static void advance(struct client *client);
static void set_interest(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "select",
	.thesis = "The select page: what do fd_set, three sets and a scan bit by bit cost?",
	.needs = "",
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	while (listen_fd >= capacity)
		grow();
	if (knobs[SETS].value)
		keep_within_fd_set();
	highest_fd = listen_fd;
	watch_listener(true);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct timespec timeout;
		size_t bytes = ((size_t)highest_fd / WORD_BITS + 1) * sizeof(uint64_t);
		memcpy(ready_read, watched_read, bytes);
		memcpy(ready_write, watched_write, bytes);
		bool all = knobs[PASS].value;
		if (all)
			memset(ready_except, 0, bytes);
		int n = pselect(highest_fd + 1, (fd_set *)ready_read,
			writers || all ? (fd_set *)ready_write : NULL, all ? (fd_set *)ready_except : NULL,
			pause_timeout(&deadlines, &timeout), &server_wait_mask);
		if (n < 0 && errno != EINTR)
			die("pselect: %s", strerror(errno));
		counters.wakeups++;
		handle_events(n);
		resume_expired();
	}

	while (highest_fd > listen_fd)
		close_client(clients[highest_fd]);
	close(listen_fd);
	free(watched_read);
	free(watched_write);
	free(ready_read);
	free(ready_write);
	free(ready_except);
	free(clients);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* A descriptor beyond the set would be written beside it: so there must be none, and who has no place waits. */
static void keep_within_fd_set(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > FD_SETSIZE)
		limit.rlim_cur = FD_SETSIZE;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("setrlimit RLIMIT_NOFILE: %s", strerror(errno));
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	set_bit(watched_read, listen_fd, on);
	accepting = on;
}

static bool has_bit(const uint64_t *set, int fd)
{
	return set[fd / WORD_BITS] >> fd % WORD_BITS & 1;
}

static void set_bit(uint64_t *set, int fd, bool on)
{
	uint64_t bit = UINT64_C(1) << fd % WORD_BITS;
	if (on)
		set[fd / WORD_BITS] |= bit;
	else
		set[fd / WORD_BITS] &= ~bit;
}

/* A client is closed only on its own event, so no ready bit that follows can stand for a reused descriptor.
 * Once n bits are found, the rest is not looked at. */
static void handle_events(int n)
{
	if (knobs[SCAN].value) {
		for (int fd = 0; fd <= highest_fd && n > 0; fd++)
			if (has_bit(ready_read, fd) || has_bit(ready_write, fd))
				n -= handle_bit(fd);
		return;
	}
	for (int first = 0; first <= highest_fd && n > 0; first += WORD_BITS) {
		uint64_t ready = ready_read[first / WORD_BITS] | ready_write[first / WORD_BITS];
		for (; ready; ready &= ready - 1)
			n -= handle_bit(first + __builtin_ctzll(ready));
	}
}

/* How many of the answer's bits it stood for. */
static int handle_bit(int fd)
{
	bool readable = has_bit(ready_read, fd);
	int bits = readable + has_bit(ready_write, fd);
	counters.events++;
	if (fd == listen_fd)
		accept_clients();
	else
		handle_client(clients[fd], readable);
	return bits;
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
	while (fd >= capacity)
		grow();
	if (fd > highest_fd)
		highest_fd = fd;
	client->fd = fd;
	clients[fd] = client;
	set_bit(watched_read, fd, true);
	conn_open(&client->conn, &core);
	count_open(&counters);
}

/* Doubles what is indexed by descriptor; the new half is zero. */
static void grow(void)
{
	int old = capacity;
	capacity = old ? 2 * old : 1024;
	size_t bytes = (size_t)capacity / 8;
	clients = realloc(clients, (size_t)capacity * sizeof *clients);
	watched_read = realloc(watched_read, bytes);
	watched_write = realloc(watched_write, bytes);
	ready_read = realloc(ready_read, bytes);
	ready_write = realloc(ready_write, bytes);
	ready_except = realloc(ready_except, bytes);
	if (!clients || !watched_read || !watched_write || !ready_read || !ready_write || !ready_except)
		die("no memory for %d descriptors", capacity);
	for (int fd = old; fd < capacity; fd++)
		clients[fd] = NULL;
	for (int word = old / WORD_BITS; word < capacity / WORD_BITS; word++)
		watched_read[word] = watched_write[word] = ready_read[word] = ready_write[word] = 0;
}

static void handle_client(struct client *client, bool readable)
{
	if (readable && conn_wants(&client->conn) & CONN_RECV)
		receive(client);
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
	bool writing = wants != CONN_RECV && !deadline_is_set(&client->deadline);
	writers += (size_t)writing - (size_t)has_bit(watched_write, client->fd);
	set_bit(watched_read, client->fd, wants & CONN_RECV);
	set_bit(watched_write, client->fd, writing);
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
	writers -= has_bit(watched_write, client->fd);
	set_bit(watched_read, client->fd, false);
	set_bit(watched_write, client->fd, false);
	clients[client->fd] = NULL;
	while (highest_fd > listen_fd && !clients[highest_fd])
		highest_fd--;
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
