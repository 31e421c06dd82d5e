/* kqueue: one thread, the event queue of the BSDs and of macOS.
 *
 * The kernel keeps what is watched, and a wait returns only what has happened: its cost grows with the ready,
 * as epoll's does. What differs is the call. Each kevent() takes a list of changes and gives a list of events,
 * so changes of interest travel with the wait that follows, and cost no call of their own. Each condition has a
 * filter of its own: a client's bytes and its room to write are two events, and one batch may bring both.
 * Timers and signals are filters, too, where Linux needs a descriptor or a mask. Level-triggered here, as
 * epoll_lt is.
 *
 * On Linux this page stands on libkqueue, an emulation by epoll, timerfd, signalfd and two threads: what is
 * measured there is the emulation, and says nothing about kqueue.
 *
 * Natively a request is kevent, recv and send.
 * Per request, one connection at a time: epoll_wait, ioctl, recv, send (over libkqueue).
 * Needs a BSD or macOS; on Linux pkg-config: libkqueue
 * Natively it needs no make: cc -std=c11 -Iservers/core -o kqueue servers/kqueue.c servers/core/[a-z]*.c
 * Try: build/servers/kqueue --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_WAIT = 256,
	CHANGES = 256, /* that travel with one call */
	ACCEPTS_PER_WAKEUP = 64,
	TURNS_PER_EVENT = 16,
	RETRY_NS = 100000000,
	TIMER = 1, /* the name of our only one */
};

/* close() takes a descriptor out of a kernel's queue. The emulation does not see it, and has to be told first.
 */
#ifdef LIBKQUEUE
enum { CLOSE_IS_SEEN = false };
#else
enum { CLOSE_IS_SEEN = true };
#endif

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all; /* or among those that have left */
	TAILQ_ENTRY(client) changed;
	int fd;             /* -1: it has left */
	bool reads, writes; /* what the kernel watches */
	bool changes;       /* its interest is to be looked at before the next wait */
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients, gone;
static TAILQ_HEAD(, client) changed = TAILQ_HEAD_INITIALIZER(changed);
static int listen_fd, queue_fd;
static struct kevent changes[CHANGES];
static int changes_used;
static uint64_t timer_ns; /* what the timer is set to */
static bool accepting;
static uint8_t received[65536];

static void start_queue(void);
static void change(uintptr_t ident, int filter, unsigned flags, struct client *client);
static void apply_changes(void);
static void watch_listener(bool on);
static void gather_changes(void);
static void set_timer(void);
static void handle_event(const struct kevent *event);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void receive(struct client *client);
static void advance(struct client *client);
static void set_interest(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);
static void forget(const struct client *client);
static void free_gone(void);

static const struct model model = {
	.name = "kqueue",
	.thesis = "One thread waits in kqueue: changes of interest travel with the wait, and cost no call of "
		  "their own.",
	.needs = "a BSD or macOS; or libkqueue",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	start_queue();
	watch_listener(true);
	apply_changes();
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct kevent events[EVENTS_PER_WAIT];
		gather_changes();
		int n = kevent(queue_fd, changes, changes_used, events, EVENTS_PER_WAIT, NULL);
		if (n < 0 && errno != EINTR)
			die("kevent: %s", strerror(errno));
		changes_used = 0;
		counters.wakeups++;
		for (int i = 0; i < n; i++)
			handle_event(&events[i]);
		resume_expired();
		free_gone();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	free_gone();
	close(listen_fd);
	close(queue_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* Signals are events: they stay blocked, so that nothing else happens when one comes. */
static void start_queue(void)
{
	queue_fd = kqueue();
	if (queue_fd < 0)
		die("kqueue: %s", strerror(errno));
	change(SIGTERM, EVFILT_SIGNAL, EV_ADD, NULL);
	change(SIGINT, EVFILT_SIGNAL, EV_ADD, NULL);
}

static void change(uintptr_t ident, int filter, unsigned flags, struct client *client)
{
	if (changes_used == CHANGES)
		apply_changes();
	EV_SET(&changes[changes_used++], ident, (short)filter, (unsigned short)flags, 0, 0, client);
}

/* Without room for events the call does not wait. */
static void apply_changes(void)
{
	if (kevent(queue_fd, changes, changes_used, NULL, 0, NULL) < 0)
		die("kevent: %s", strerror(errno));
	changes_used = 0;
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	change((uintptr_t)listen_fd, EVFILT_READ, on ? EV_ADD : EV_DELETE, NULL);
	accepting = on;
}

/* Only now, when nobody can leave any more before the call: a change made for a client must not meet another
 * one that has been given the same descriptor. */
static void gather_changes(void)
{
	while (!TAILQ_EMPTY(&changed)) {
		struct client *client = TAILQ_FIRST(&changed);
		TAILQ_REMOVE(&changed, client, changed);
		client->changes = false;
		unsigned wants = conn_wants(&client->conn);
		bool reads = wants & CONN_RECV,
		     writes = wants != CONN_RECV && !deadline_is_set(&client->deadline);
		if (reads != client->reads)
			change((uintptr_t)client->fd, EVFILT_READ, reads ? EV_ADD : EV_DELETE, client);
		if (writes != client->writes)
			change((uintptr_t)client->fd, EVFILT_WRITE, writes ? EV_ADD : EV_DELETE, client);
		client->reads = reads;
		client->writes = writes;
	}
	set_timer();
}

/* One timer, for the earliest deadline: the kernel's are a limited good (kern.kq_calloutmax), the heap is not.
 */
static void set_timer(void)
{
	struct timespec left;
	if (!pause_timeout(&deadlines, &left) || deadlines.heap[1]->at_ns == timer_ns)
		return;
	timer_ns = deadlines.heap[1]->at_ns;
	change(TIMER, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NULL);
	struct kevent *timer = &changes[changes_used - 1];
	timer->fflags = NOTE_NSECONDS;
	timer->data = (intptr_t)left.tv_sec * 1000000000 + left.tv_nsec + 1; /* 0 would be no timer */
}

static void handle_event(const struct kevent *event)
{
	struct client *client = event->udata;
	counters.events++;
	if (event->flags & EV_ERROR) {
		errno = (int)event->data;
		die("kevent, filter %d: %s", event->filter, strerror(errno));
	}
	if (event->filter == EVFILT_SIGNAL) {
		server_stopping = 1;
	} else if (event->filter == EVFILT_TIMER) {
		timer_ns = 0;
	} else if (!client) {
		accept_clients();
	} else if (client->fd < 0) {
		return; /* it left with an earlier event of this batch */
	} else if (event->flags & EV_EOF && event->fflags != 0) {
		errno = (int)event->fflags; /* the connection's error, which a receive might not tell again */
		count_error(&counters);
		close_client(client);
	} else if (event->filter == EVFILT_WRITE) {
		advance(client);
	} else if (conn_wants(&client->conn) & CONN_RECV) {
		receive(client);
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
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	set_interest(client);
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

/* Whether it differs from what the kernel has is looked at before the next wait. */
static void set_interest(struct client *client)
{
	if (!client->changes)
		TAILQ_INSERT_TAIL(&changed, client, changed);
	client->changes = true;
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

/* The batch at hand may hold another event of this client: its memory stays until the batch is done. */
static void close_client(struct client *client)
{
	deadline_clear(&deadlines, &client->deadline);
	conn_drop(&client->conn);
	if (client->changes)
		TAILQ_REMOVE(&changed, client, changed);
	if (!CLOSE_IS_SEEN)
		forget(client);
	close(client->fd);
	client->fd = -1;
	LIST_REMOVE(client, all);
	LIST_INSERT_HEAD(&gone, client, all);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}

/* Not later, with the next wait: the descriptor may be somebody else's by then. */
static void forget(const struct client *client)
{
	struct kevent deletions[2];
	int n = 0;
	if (client->reads)
		EV_SET(&deletions[n++], (uintptr_t)client->fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
	if (client->writes)
		EV_SET(&deletions[n++], (uintptr_t)client->fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
	if (n > 0 && kevent(queue_fd, deletions, n, NULL, 0, NULL) != 0)
		die("kevent to forget a client: %s", strerror(errno));
}

static void free_gone(void)
{
	while (!LIST_EMPTY(&gone)) {
		struct client *client = LIST_FIRST(&gone);
		LIST_REMOVE(client, all);
		free(client);
	}
}
