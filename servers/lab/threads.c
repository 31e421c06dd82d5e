/* lab/threads: threads that wait in each call, and the three ways in which clients get one.
 *
 * With --pool none every client gets a thread of its own, as in servers/thread_per_conn.c. With --pool
 * connection there are --workers of them, made beforehand; each accepts a client and serves it to its end, so
 * as many silent clients as there are workers leave nobody else served. With --pool request a worker takes a
 * client only while it has something to say: all workers wait in one epoll, which tells each event to one of
 * them (EPOLLONESHOT). Unlike in servers/thread_pool.c nobody hands anything over. In all three a delay is a
 * thread asleep: P workers end P delays at a time.
 *
 * What the report's `workers` shows: accept(2) wakes those that wait in it in turn; epoll wakes the last one
 * that came.
 *
 * Needs Linux 2.6.28 (epoll, accept4) and POSIX threads.
 * Try: build/lab/threads --pool connection --workers 2 --protocol greet --delay 2s --port 8080, then nc thrice
 */
#include "clock.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	WORKERS = 16,
	TURNS_PER_EVENT = 16, /* of a worker that others wait for: then they have theirs */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	LIST_ENTRY(client) all;
	struct worker *home; /* who accepted it */
	int fd;
};

struct worker {
	pthread_t thread;
	struct core core;
	struct counters counters;
	struct client *only; /* with --pool none */
	uint8_t received[65536];
};

static struct options options;
static struct worker *workers;
static struct worker door; /* with --pool none: the thread that accepts */
static pthread_attr_t attributes;
static int listen_fd, epoll_fd, stop_fd; /* an eventfd that all workers watch; nobody reads it */
static atomic_bool stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below, and who opens and closes */
static pthread_cond_t client_ended = PTHREAD_COND_INITIALIZER;
static LIST_HEAD(, client) clients;     /* whose descriptors are open */
static uint64_t ended, ended_seen;      /* clients */
static uint64_t threads, requests_gone; /* with --pool none: threads that run, requests of those that ran ... */
static struct counters gone;            /* ... and what they counted */

static struct knob knobs[] = {
	{"pool",
		"a worker takes a client until its end, or while it says something; or a thread for each "
		"client",
		.choices = "connection|request|none"},
	{"stack-size", "bytes of a thread's stack", .value = 65536, .min = 16384, .max = 1 << 30},
	{0},
};
enum { POOL, STACK_SIZE };
enum { CONNECTION, REQUEST, NONE };

/* Of a send or a read. */
enum outcome { GOES_ON, WAITS, LOST };

static void start(void);
static void start_thread(struct worker *worker, void *(*run)(void *));
static void *keep(void *worker);
static void *share(void *worker);
static void *open_door(void *door);
static void give_a_thread(struct client *client);
static void *serve_one(void *worker);
static struct client *accept_client(struct worker *worker);
static void wait_for_room(struct worker *worker);
static void serve(struct worker *worker, struct client *client, bool readable);
static enum outcome advance(struct worker *worker, struct client *client, bool readable);
static enum outcome transmit(struct worker *worker, struct client *client);
static enum outcome receive(struct worker *worker, struct client *client);
static void arm(struct client *client, int operation);
static void close_client(struct client *client);
static void stop(void);

static const struct model model = {
	.name = "threads",
	.thesis =
		"Threads that wait in each call: one for each client, for each connection served, or for each "
		"request.",
	.needs = "Linux 2.6.28",
	.workers = WORKERS,
	.knobs = knobs,
};

/* Only the main thread takes SIGTERM, and does nothing else: a signal handler may take no lock. */
int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	if (knobs[POOL].value == NONE && options.workers != WORKERS)
		options_refuse(model.name, "--pool none and --workers do not fit: each client has its own");
	listen_fd = server_start(&options, knobs[POOL].value == REQUEST ? SOCK_NONBLOCK : 0);
	start();
	server_ready(listen_fd, &options);

	while (!server_stopping)
		sigsuspend(&server_wait_mask);

	stop();
	close(listen_fd);
	if (knobs[POOL].value == NONE) {
		counters_add(&gone, &door.counters);
		return server_report(&gone, requests_gone);
	}
	struct counters sum = {0}, each[options.workers];
	uint64_t requests = 0, of_each[options.workers];
	for (unsigned i = 0; i < options.workers; i++) {
		each[i] = workers[i].counters;
		requests += of_each[i] = workers[i].core.requests;
		counters_add(&sum, &each[i]);
	}
	free(workers);
	return server_report_workers(&sum, requests, each, of_each, options.workers);
}

static void start(void)
{
	pthread_attr_init(&attributes);
	int error = pthread_attr_setstacksize(&attributes, knobs[STACK_SIZE].value);
	if (error)
		die("--stack-size %lu: %s", knobs[STACK_SIZE].value, strerror(error));
	if (knobs[POOL].value == NONE) {
		start_thread(&door, open_door);
		return;
	}
	if (knobs[POOL].value == REQUEST) {
		struct epoll_event stops = {.events = EPOLLIN, .data.ptr = &stop_fd};
		struct epoll_event comes = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = NULL};
		stop_fd = eventfd(0, EFD_CLOEXEC);
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, stop_fd, &stops) != 0 ||
			epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &comes) != 0)
			die("epoll: %s", strerror(errno));
	}
	workers = calloc(options.workers, sizeof *workers);
	if (!workers)
		die("no memory for %u workers; give fewer --workers", options.workers);
	for (unsigned i = 0; i < options.workers; i++)
		start_thread(&workers[i], knobs[POOL].value == REQUEST ? share : keep);
}

static void start_thread(struct worker *worker, void *(*run)(void *))
{
	worker->core = options.core;
	int error = pthread_create(&worker->thread, &attributes, run, worker);
	if (error)
		die("pthread_create: %s; give fewer --workers or a smaller --stack-size", strerror(error));
}

/* --pool connection */
static void *keep(void *argument)
{
	struct worker *worker = argument;
	while (!stopping) {
		struct client *client = accept_client(worker);
		if (client)
			serve(worker, client, false);
	}
	return NULL;
}

/* --pool request. One event for a wait: others may take the next. */
static void *share(void *argument)
{
	struct worker *worker = argument;
	while (!stopping) {
		struct epoll_event event;
		int n = epoll_wait(epoll_fd, &event, 1, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		worker->counters.wakeups++;
		if (n < 0)
			continue; /* stopped and continued */
		worker->counters.events++;
		if (event.data.ptr == &stop_fd)
			break;
		struct client *client = event.data.ptr;
		if (client) {
			conn_move(&client->conn, &worker->core); /* another worker may have served it before */
			serve(worker, client, event.events & (EPOLLIN | EPOLLHUP | EPOLLERR));
			continue;
		}
		if ((client = accept_client(worker)))
			arm(client, EPOLL_CTL_ADD);
		event = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT};
		if (!stopping && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, listen_fd, &event) != 0)
			die("epoll_ctl for the listener: %s", strerror(errno));
	}
	return NULL;
}

/* --pool none: this thread accepts, and each client's thread is a worker that is made for it. */
static void *open_door(void *argument)
{
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	while (!stopping) {
		struct client *client = accept_client(argument);
		if (client)
			give_a_thread(client);
	}
	return NULL;
}

static void give_a_thread(struct client *client)
{
	struct worker *own = malloc(sizeof *own);
	if (!own)
		die("no memory for another client");
	memset(own, 0, offsetof(struct worker, received)); /* what is not used is no memory */
	own->core = options.core;
	own->only = client;
	conn_move(&client->conn, &own->core);
	pthread_mutex_lock(&lock);
	threads++;
	pthread_mutex_unlock(&lock);
	while (!stopping) {
		errno = pthread_create(&own->thread, &attributes, serve_one, own);
		if (errno == 0)
			return;
		wait_for_room(&door);
	}
	serve_one(own);
}

static void *serve_one(void *argument)
{
	struct worker *own = argument;
	serve(own, own->only, false);
	pthread_mutex_lock(&lock);
	counters_add(&gone, &own->counters);
	requests_gone += own->core.requests;
	core_free(&own->core);
	free(own);
	threads--;
	pthread_cond_broadcast(&client_ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* NULL: nobody, or no room for anybody. */
static struct client *accept_client(struct worker *worker)
{
	bool keeps = knobs[POOL].value != REQUEST;
	int fd = net_accept(listen_fd, SOCK_CLOEXEC | (keeps ? 0 : SOCK_NONBLOCK));
	worker->counters.wakeups += keeps;
	if (fd == NET_FULL)
		wait_for_room(worker);
	else if (fd == NET_FAILED && !stopping)
		die("accept4: %s", strerror(errno));
	if (fd < 0)
		return NULL;
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	client->home = worker;
	conn_open(&client->conn, &worker->core);
	worker->counters.events += keeps;
	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&worker->counters);
	pthread_mutex_unlock(&lock);
	return client;
}

/* Without a descriptor or a thread to be had, waits for a client to close, unless one has since the last time.
 * But not for ever: others may hold what is missing. */
static void wait_for_room(struct worker *worker)
{
	struct timespec until = clock_timespec(clock_now_ns() + RETRY_NS);
	pthread_mutex_lock(&lock);
	count_error(&worker->counters);
	if (ended == ended_seen && !stopping)
		pthread_cond_clockwait(&client_ended, &lock, CLOCK_MONOTONIC, &until);
	ended_seen = ended;
	pthread_mutex_unlock(&lock);
}

/* A worker that keeps its client serves it until it is over; one that others wait for, until it would have to
 * wait for the peer. */
static void serve(struct worker *worker, struct client *client, bool readable)
{
	bool keeps = knobs[POOL].value != REQUEST;
	for (int turn = 0; !stopping && (keeps || turn < TURNS_PER_EVENT); turn++) {
		if (conn_wants(&client->conn) & CONN_CLOSE) {
			close_client(client);
			return;
		}
		enum outcome outcome = advance(worker, client, readable && turn == 0);
		if (outcome == LOST) {
			if (!stopping) /* what fails after our own shutdown is no error of the peer */
				count_error(&worker->counters);
			close_client(client);
			return;
		}
		if (outcome == WAITS && !keeps)
			break;
	}
	if (keeps)
		close_client(client);
	else if (!stopping)
		arm(client, EPOLL_CTL_MOD);
}

/* Does one thing that the connection wants. Reading comes last for who waits in each call, and first, and once,
 * for who was told that there is something: else it would be told again and again. */
static enum outcome advance(struct worker *worker, struct client *client, bool readable)
{
	unsigned wants = conn_wants(&client->conn);
	if (readable && wants & CONN_RECV)
		return receive(worker, client);
	if (wants & CONN_SEND)
		return transmit(worker, client);
	if (wants & CONN_PAUSE) {
		if (!pause_on(client->fd, conn_pause(&client->conn)))
			return LOST;
		conn_did(&client->conn, CONN_PAUSE);
		return GOES_ON;
	}
	if (wants & CONN_SHUT) {
		shutdown(client->fd, SHUT_WR);
		conn_did(&client->conn, CONN_SHUT);
		return GOES_ON;
	}
	return knobs[POOL].value == REQUEST ? WAITS : receive(worker, client);
}

static enum outcome transmit(struct worker *worker, struct client *client)
{
	struct span output = conn_output(&client->conn);
	ssize_t n = net_send(client->fd, output);
	if (n == NET_FAILED)
		return LOST;
	if (n == NET_AGAIN) {
		worker->counters.eagain++;
		return WAITS;
	}
	conn_sent(&client->conn, (size_t)n);
	return (size_t)n < output.len ? WAITS : GOES_ON;
}

static enum outcome receive(struct worker *worker, struct client *client)
{
	size_t room = conn_room(&client->conn), most = sizeof worker->received;
	ssize_t n = net_recv(client->fd, worker->received, room < most ? room : most);
	bool keeps = knobs[POOL].value != REQUEST;
	worker->counters.wakeups += keeps;
	if (n == NET_FAILED)
		return LOST;
	if (n == NET_AGAIN) {
		worker->counters.eagain++;
		return WAITS;
	}
	worker->counters.events += keeps;
	if (n > 0)
		conn_feed(&client->conn, worker->received, (size_t)n);
	else
		conn_eof(&client->conn);
	return GOES_ON;
}

/* Writability is asked for only after EAGAIN; or when the turns are used up, to be called again at once. From
 * this call on the client may be another worker's: the lock that the kernel takes for it, and for the wait,
 * orders what one has written before what the next one reads (ThreadSanitizer does not know of it). */
static void arm(struct client *client, int operation)
{
	unsigned wants = conn_wants(&client->conn);
	struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = client};
	if (wants & CONN_RECV)
		event.events |= EPOLLIN;
	if (wants != CONN_RECV)
		event.events |= EPOLLOUT;
	if (epoll_ctl(epoll_fd, operation, client->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* Leaves the list before its descriptor's number can belong to another; has ended when all is given back. */
static void close_client(struct client *client)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(client, all);
	count_close(&client->home->counters);
	pthread_mutex_unlock(&lock);

	conn_drop(&client->conn);
	close(client->fd);
	free(client);

	pthread_mutex_lock(&lock);
	ended++;
	pthread_cond_broadcast(&client_ended);
	pthread_mutex_unlock(&lock);
}

/* A shutdown ends every wait on that socket, of accept, recv, send and pause_on, begun or not. */
static void stop(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	shutdown(listen_fd, SHUT_RDWR);
	for (struct client *client = LIST_FIRST(&clients); client; client = LIST_NEXT(client, all))
		shutdown(client->fd, SHUT_RDWR);
	pthread_cond_broadcast(&client_ended);
	pthread_mutex_unlock(&lock);
	if (knobs[POOL].value == REQUEST && write(stop_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		die("eventfd: %s", strerror(errno));

	if (knobs[POOL].value == NONE) {
		pthread_join(door.thread, NULL);
		pthread_mutex_lock(&lock);
		while (threads > 0)
			pthread_cond_wait(&client_ended, &lock);
		pthread_mutex_unlock(&lock);
	}
	for (unsigned i = 0; workers && i < options.workers; i++)
		pthread_join(workers[i].thread, NULL);
	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	for (unsigned i = 0; workers && i < options.workers; i++)
		core_free(&workers[i].core);
	pthread_attr_destroy(&attributes);
}
