/* lab/offload: an event loop that hands its slow handlers to a pool of threads, or does not.
 *
 * Who sleeps, computes or reads a file inside an event loop stops everybody. The classical remedy is a pool:
 * the loop gives the pause away and goes on, a thread carries it out, and an eventfd brings the loop back to
 * the client. That costs two hand-overs between threads for each such request. With --offload 0 the loop does
 * all itself, as servers/epoll_lt.c does; --delay-blocks makes it sleep in its handlers.
 *
 * Needs Linux 5.11 (epoll_pwait2) and POSIX threads.
 * Try: build/lab/offload --offload 4 --protocol http --delay 1ms --delay-blocks
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
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
	STAILQ_ENTRY(client) job;
	struct pause pause; /* for the pool, while it is away */
	bool away;
	bool leaving; /* to be closed when it comes back */
};
STAILQ_HEAD(jobs, client);

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd, epoll_fd;
static bool accepting;
static uint8_t received[65536];

static pthread_t *threads;
static int done_fd;                                      /* an eventfd: `done` is not empty */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static pthread_cond_t there_are_jobs = PTHREAD_COND_INITIALIZER;
static struct jobs waiting = STAILQ_HEAD_INITIALIZER(waiting), done = STAILQ_HEAD_INITIALIZER(done);
static bool closing;

static struct knob knobs[] = {
	{"offload", "threads that carry out what would block the loop; 0: the loop does", .value = 0,
		.max = 1024},
	{0},
};

static void start_pool(void);
static void *carry_out(void *unused);
static void give_away(struct client *client);
static void take_back(void);
static void stop_pool(void);
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
	.name = "offload",
	.thesis = "An event loop, and a pool for its slow handlers: when is the hand-over worth it?",
	.needs = "Linux 5.11",
	.knobs = knobs,
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
	start_pool();
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

	stop_pool();
	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	close(epoll_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void start_pool(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &done_fd};
	done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (done_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, done_fd, &event) != 0)
		die("eventfd: %s", strerror(errno));
	threads = calloc(knobs[0].value + 1, sizeof *threads);
	for (unsigned long i = 0; i < knobs[0].value; i++) {
		int error = pthread_create(&threads[i], NULL, carry_out, NULL);
		if (error)
			die("pthread_create: %s; give a smaller --offload", strerror(error));
	}
}

/* A thread of the pool: it knows pauses, not connections. */
static void *carry_out(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	for (;;) {
		while (STAILQ_EMPTY(&waiting) && !closing)
			pthread_cond_wait(&there_are_jobs, &lock);
		if (closing)
			break;
		struct client *client = STAILQ_FIRST(&waiting);
		STAILQ_REMOVE_HEAD(&waiting, job);
		pthread_mutex_unlock(&lock);
		pause_here(client->pause);
		pthread_mutex_lock(&lock);
		bool first = STAILQ_EMPTY(&done);
		STAILQ_INSERT_TAIL(&done, client, job);
		if (first && write(done_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
			die("eventfd: %s", strerror(errno));
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void give_away(struct client *client)
{
	client->away = true;
	client->pause = conn_pause(&client->conn);
	pthread_mutex_lock(&lock);
	STAILQ_INSERT_TAIL(&waiting, client, job);
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&there_are_jobs);
}

static void take_back(void)
{
	struct jobs all = STAILQ_HEAD_INITIALIZER(all);
	uint64_t count;
	pthread_mutex_lock(&lock);
	counters.eagain += read(done_fd, &count, sizeof count) < 0;
	STAILQ_CONCAT(&all, &done);
	pthread_mutex_unlock(&lock);
	struct client *client;
	while ((client = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, job);
		client->away = false;
		conn_did(&client->conn, CONN_PAUSE);
		if (client->leaving)
			close_client(client);
		else
			advance(client);
	}
}

/* The pool finishes what it has begun, as a client's memory may be lent to it: that is bounded. Nothing is lent
 * of what still waits, and it goes with its clients. */
static void stop_pool(void)
{
	pthread_mutex_lock(&lock);
	closing = true;
	pthread_mutex_unlock(&lock);
	pthread_cond_broadcast(&there_are_jobs);
	for (unsigned long i = 0; i < knobs[0].value; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	struct client *client;
	LIST_FOREACH(client, &clients, all)
	client->away = false;
	close(done_fd);
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, &event) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	accepting = on;
}

/* A wait reports a descriptor once, and a client is closed on its own event or after all of them: none that
 * follows can be stale. */
static void handle_events(struct epoll_event *events, int n)
{
	bool some_are_done = false;
	for (int i = 0; i < n; i++) {
		counters.events++;
		if (events[i].data.ptr == &done_fd)
			some_are_done = true;
		else if (events[i].data.ptr)
			handle_client(events[i].data.ptr, events[i].events);
		else
			accept_clients();
	}
	if (some_are_done)
		take_back();
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
			if (knobs[0].value > 0) {
				if (!client->away)
					give_away(client);
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
	if (wants != CONN_RECV && !deadline_is_set(&client->deadline) && !client->away)
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

/* One that is away is let go when it comes back; until then epoll would report its end in every wait. */
static void close_client(struct client *client)
{
	if (client->away) {
		if (!client->leaving && epoll_ctl(epoll_fd, EPOLL_CTL_DEL, client->fd, NULL) != 0)
			die("epoll_ctl: %s", strerror(errno));
		client->leaving = true;
		return;
	}
	deadline_clear(&deadlines, &client->deadline);
	conn_drop(&client->conn);
	close(client->fd); /* which also takes it out of the kernel's set */
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
