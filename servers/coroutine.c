/* coroutine: one thread, edge-triggered epoll, and a stack for each connection.
 *
 * The handler reads like blocking.c, and all that waits in it waits in three calls: receive, send, pause. Where
 * blocking.c sleeps in the kernel, such a call leaves the connection's stack as it is and goes back to the
 * loop, which runs whoever is ready: a few registers pushed, the stack pointer exchanged, the other's registers
 * popped (in core/context.c). So the state of a connection is where its code stands, and not in a structure
 * that callbacks must keep right; yet there is one thread and no lock, for nobody is interrupted but where he
 * waits.
 *
 * The price is the stack. It is large in addresses, with a page below it that faults when it overflows, but
 * pays for the pages that were touched: one at least, where epoll_et.c's client is a few hundred bytes. It is
 * kept for the next client, with what was touched. The kernel keeps a record of two mappings for each, and
 * allows vm.max_map_count of them.
 *
 * While a send waits nothing is read: a client that sends on and never reads stops its own echo, nobody else's.
 *
 * Per request, one connection at a time: epoll_pwait2, recv, send.
 * Per idle connection: a stack.
 * Needs Linux 5.11 (epoll_pwait2, for timeouts in nanoseconds).
 * Try: build/servers/coroutine --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "context.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STACK_BYTES = 65536, /* of which the calls below touch a page or two */
	EVENTS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_RESUME = 16,   /* nor may one client's calls that need not wait starve the others */
	RETRY_NS = 100000000,
};

struct client { /* at the top of its own stack */
	struct conn conn;
	struct context context;
	struct deadline deadline;
	LIST_ENTRY(client) all; /* or in the list of spare ones */
	int fd, turns;
	bool readable, writable; /* as far as we know */
	bool ended;              /* the peer's FIN or reset is there to be read: no short read drains it */
	bool broken;             /* no more can be sent or received */
	bool queued;
	TAILQ_ENTRY(client) again;
};

/* What lies below the client, for the calls: a multiple of 16, as the processors want their stacks. */
#define ROOM_FOR_CALLS ((STACK_BYTES - sizeof(struct client)) & ~(size_t)63)

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(list, client) clients, spare;
static TAILQ_HEAD(queue, client) queue; /* more to do, and no event to come */
static struct context loop;
static struct client *running;
static int listen_fd, epoll_fd;
static bool accepting;
static uint8_t received[65536]; /* for all: from a receive to the feed nobody else runs */

static const struct timespec *next_timeout(struct timespec *timeout);
static void watch_listener(bool on);
static void handle_events(struct epoll_event *events, int n);
static void accept_clients(void);
static void wait_for_room(void);
static bool have_stack(void);
static struct client *client_of(char *stack);
static char *stack_of(struct client *client);
static void free_stacks(void);
static void open_client(int fd);
static void handle_client(struct client *client, uint32_t ready);
static void resume(struct client *client);
static bool wait_for_loop(struct client *client);
static void run_client(void);
static void serve_client(struct client *client);
static bool send_output(struct client *client);
static bool sleep_or_work(struct client *client);
static bool receive(struct client *client);
static bool lost(void);
static ssize_t co_recv(struct client *client, void *data, size_t size);
static ssize_t co_send(struct client *client, struct span span);
static bool co_pause(struct client *client, struct pause pause);
static void take_turn(struct client *client);
static void resume_queued(void);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "coroutine",
	.thesis = "One thread in edge-triggered epoll switches between stacks, one for each connection: code "
		  "that waits.",
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

	while (!LIST_EMPTY(&clients)) /* each finds that the server stops, and ends as it would anyhow */
		resume(LIST_FIRST(&clients));
	free_stacks();
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
		int fd = have_stack() ? net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC) : NET_FULL;
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

/* Makes sure that there is a spare stack. Its lowest page stays without access: what overflows the stack ends
 * the process, and not in another one's variables. */
static bool have_stack(void)
{
	if (!LIST_EMPTY(&spare))
		return true;
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, guard + STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	if (mprotect(memory, guard, PROT_NONE) != 0) {
		munmap(memory, guard + STACK_BYTES);
		return false;
	}
	LIST_INSERT_HEAD(&spare, client_of(memory + guard), all);
	return true;
}

static struct client *client_of(char *stack)
{
	return (struct client *)(stack + ROOM_FOR_CALLS);
}

static char *stack_of(struct client *client)
{
	return (char *)client - ROOM_FOR_CALLS;
}

static void free_stacks(void)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	while (!LIST_EMPTY(&spare)) {
		struct client *client = LIST_FIRST(&spare);
		LIST_REMOVE(client, all);
		munmap(stack_of(client) - guard, guard + STACK_BYTES);
	}
}

static void open_client(int fd)
{
	struct client *client = LIST_FIRST(&spare);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
	LIST_REMOVE(client, all);
	*client = (struct client){.fd = fd, .writable = true};
	conn_open(&client->conn, &core);
	context_make(&client->context, stack_of(client), ROOM_FOR_CALLS, run_client);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	resume(client);
}

static void handle_client(struct client *client, uint32_t ready)
{
	if (ready & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->readable = true;
	if (ready & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		client->writable = true;
	if (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->ended = true;
	if (ready & (EPOLLHUP | EPOLLERR))
		client->broken = true;
	resume(client);
}

/* Goes on where the client waits, until it waits again or is gone. */
static void resume(struct client *client)
{
	client->turns = 0;
	running = client;
	context_switch(&loop, &client->context);
}

/* The other half: back to the loop, until it resumes this client. False: the server stops. */
static bool wait_for_loop(struct client *client)
{
	context_switch(&client->context, &loop);
	return !server_stopping;
}

/* Each client's flow of control begins here. */
static void run_client(void)
{
	struct client *client = running;
	serve_client(client);
	close_client(client);
	context_leave(&client->context, &loop);
}

/* Does what the connection wants, one thing after the other, until it is over. */
static void serve_client(struct client *client)
{
	for (bool connected = true; connected && !server_stopping;) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			connected = send_output(client);
		} else if (wants & CONN_PAUSE) {
			connected = sleep_or_work(client);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_RECV) {
			connected = receive(client);
		} else {
			connected = false; /* CONN_CLOSE */
		}
	}
	conn_drop(&client->conn);
}

static bool send_output(struct client *client)
{
	ssize_t n = co_send(client, conn_output(&client->conn));
	if (n == NET_FAILED)
		return lost();
	conn_sent(&client->conn, (size_t)n);
	return true;
}

static bool sleep_or_work(struct client *client)
{
	if (!co_pause(client, conn_pause(&client->conn)))
		return lost();
	conn_did(&client->conn, CONN_PAUSE);
	return true;
}

static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	ssize_t n = co_recv(client, received, room < sizeof received ? room : sizeof received);
	if (n == NET_FAILED)
		return lost();
	if (n > 0)
		conn_feed(&client->conn, received, (size_t)n);
	else
		conn_eof(&client->conn);
	return true;
}

/* What ends because the server does is no error of the peer. Returns false: not connected. */
static bool lost(void)
{
	if (!server_stopping)
		count_error(&counters);
	return false;
}

/* recv(2) as blocking.c has it: it returns when there is something. */
static ssize_t co_recv(struct client *client, void *data, size_t size)
{
	for (;;) {
		while (!client->readable)
			if (!wait_for_loop(client))
				return NET_FAILED;
		take_turn(client);
		ssize_t n = net_recv(client->fd, data, size);
		client->readable = n == (ssize_t)size || (n > 0 && client->ended);
		if (n != NET_AGAIN)
			return n;
		counters.eagain++;
	}
}

/* send(2), which returns when it has sent at least a part. */
static ssize_t co_send(struct client *client, struct span span)
{
	for (;;) {
		while (!client->writable)
			if (!wait_for_loop(client))
				return NET_FAILED;
		take_turn(client);
		ssize_t n = net_send(client->fd, span);
		client->writable = n == (ssize_t)span.len;
		if (n != NET_AGAIN)
			return n;
		counters.eagain++;
	}
}

/* pause_on(): false if a reset ends the connection meanwhile. */
static bool co_pause(struct client *client, struct pause pause)
{
	if (pause.kind != PAUSE_DELAY) {
		take_turn(client);
		pause_here(pause);
		return true;
	}
	pause_begin(&deadlines, &client->deadline, pause);
	while (deadline_is_set(&client->deadline) && !client->broken)
		if (!wait_for_loop(client))
			return false;
	errno = EPIPE;
	return !client->broken;
}

/* Whoever need not wait lets the others run now and then. */
static void take_turn(struct client *client)
{
	if (++client->turns < TURNS_PER_RESUME)
		return;
	TAILQ_INSERT_TAIL(&queue, client, again);
	client->queued = true;
	while (client->queued && wait_for_loop(client))
		;
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
		resume(client);
	}
}

static void resume_expired(void)
{
	struct deadline *deadline;
	while ((deadline = pause_expired(&deadlines)))
		resume((struct client *)((char *)deadline - offsetof(struct client, deadline)));
}

/* On its own stack, which is not used again before the loop has it back. */
static void close_client(struct client *client)
{
	deadline_clear(&deadlines, &client->deadline);
	close(client->fd); /* which also takes it out of the kernel's set */
	LIST_REMOVE(client, all);
	if (client->queued)
		TAILQ_REMOVE(&queue, client, again);
	LIST_INSERT_HEAD(&spare, client, all);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
