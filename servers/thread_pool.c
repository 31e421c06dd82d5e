/* thread_pool: a fixed number of workers, and a queue of clients that are ready.
 *
 * One thread, the dispatcher, waits in epoll for all clients and puts those that are ready into a bounded
 * queue; workers take them out, serve what is there, and hand them back to the kernel. Unlike in
 * thread_per_conn.c a silent client occupies nobody; unlike in epoll_lt.c a slow handler stops nobody, for as
 * long as there are workers left. A delay is a worker asleep: no more than P delays pass at once, and greetings
 * leave at the rate P / delay at most. The price is the hand-off: a request wakes two threads instead of one.
 *
 * A client has one owner at a time: the kernel, whose EPOLLONESHOT reports it once and then lets go of it; the
 * queue; or a worker, until epoll_ctl arms it again. A worker waits for no peer: sockets do not block, and what
 * cannot be sent is left until the kernel reports room for it.
 *
 * Per request, one connection at a time: epoll_wait, futex... (wakes a worker, who waits for the next one; more
 * where they meet at the queue's lock), recv, send, epoll_ctl.
 * Wake-ups are returns of the dispatcher's wait and of the workers' waits for the queue; events come from the
 * former.
 * Needs Linux 2.6.28 (epoll, accept4) and POSIX threads.
 * Try: build/servers/thread_pool --workers 2 --protocol greet --delay 2s --port 8080, then nc thrice
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	QUEUE_LENGTH = 256,
	EVENTS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends, work and delays starve the others */
	RETRY_MS = 100,
};

struct client {
	struct conn conn;
	LIST_ENTRY(client) all;
	int fd;
	uint32_t ready; /* as the kernel reported it */
};

struct worker {
	pthread_t thread;
	struct core core;
	struct counters counters;
	uint8_t received[65536];
};

static struct options options;
static struct worker *workers;
static pthread_t dispatcher;
static struct counters dispatched; /* the dispatcher's waits */
static int listen_fd, epoll_fd;
static atomic_bool stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static pthread_cond_t queue_has_clients = PTHREAD_COND_INITIALIZER;
static pthread_cond_t queue_has_room = PTHREAD_COND_INITIALIZER;
static struct client *queue[QUEUE_LENGTH]; /* a ring */
static size_t queue_first, queued;
static LIST_HEAD(, client) clients; /* whose descriptors are open */
static struct counters counters;    /* of clients that come and go; the other threads keep their own */
static uint64_t ended, ended_seen;
static bool accepting;

static void start(void);
static void watch_listener(bool on, int operation);
static void *dispatch(void *unused);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void put_ready(struct client *client, uint32_t ready);
static void *work(void *worker);
static struct client *take_ready(struct worker *worker);
static void serve_client(struct worker *worker, struct client *client);
static bool receive(struct worker *worker, struct client *client);
static void advance(struct worker *worker, struct client *client);
static void lose_client(struct worker *worker, struct client *client);
static void arm(struct client *client);
static void close_client(struct client *client);
static void stop(void);

static const struct model model = {
	.name = "thread_pool",
	.thesis = "One thread waits in epoll and queues clients that are ready; a few workers serve them in "
		  "turn.",
	.needs = "Linux 2.6.28",
	.workers = 16,
};

/* Only the main thread takes SIGTERM, and does nothing else: a signal handler may take no lock. */
int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	start();
	server_ready(listen_fd, &options);

	while (!server_stopping)
		sigsuspend(&server_wait_mask);

	stop();
	uint64_t requests = 0;
	counters_add(&counters, &dispatched);
	for (unsigned i = 0; i < options.workers; i++) {
		requests += workers[i].core.requests;
		counters_add(&counters, &workers[i].counters);
		core_free(&workers[i].core);
	}
	free(workers);
	close(listen_fd);
	close(epoll_fd);
	return server_report(&counters, requests);
}

static void start(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1: %s", strerror(errno));
	watch_listener(true, EPOLL_CTL_ADD);
	workers = calloc(options.workers, sizeof *workers);
	if (!workers)
		die("no memory for %u workers; give fewer --workers", options.workers);
	int error = pthread_create(&dispatcher, NULL, dispatch, NULL);
	for (unsigned i = 0; i < options.workers && !error; i++) {
		workers[i].core = options.core;
		error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	if (error)
		die("pthread_create for %u workers: %s; give fewer --workers", options.workers,
			strerror(error));
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. Not
 * watched it stays in the set, where the hang-up of stop() is reported all the same. */
static void watch_listener(bool on, int operation)
{
	struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, operation, listen_fd, &event) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	accepting = on;
}

static void *dispatch(void *unused)
{
	while (!stopping) {
		struct epoll_event events[EVENTS_PER_WAIT];
		int n = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		dispatched.wakeups++;
		for (int i = 0; i < n; i++) {
			struct client *client = events[i].data.ptr;
			dispatched.events++;
			if (client)
				put_ready(client, events[i].events);
			else
				accept_clients();
		}
	}
	return unused;
}

static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP && !stopping; i++) {
		int fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN || (fd == NET_FAILED && stopping))
			return;
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			wait_for_room();
			return;
		}
		open_client(fd);
	}
}

/* The next client to close resumes accepting, unless one has closed since the last time: then trying again is
 * worth it. With nobody connected there is no such client, and nobody else to be kept waiting. */
static void wait_for_room(void)
{
	pthread_mutex_lock(&lock);
	count_error(&counters);
	bool nobody = ended == counters.accepted;
	if (!nobody && ended == ended_seen)
		watch_listener(false, EPOLL_CTL_MOD);
	ended_seen = ended;
	pthread_mutex_unlock(&lock);
	if (nobody)
		poll(NULL, 0, RETRY_MS);
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	conn_open(&client->conn, &options.core);

	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	pthread_mutex_unlock(&lock);

	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = client};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
}

/* A full queue makes the dispatcher wait, and requests and newcomers with it, in the kernel's buffers. */
static void put_ready(struct client *client, uint32_t ready)
{
	pthread_mutex_lock(&lock);
	client->ready = ready;
	while (queued == QUEUE_LENGTH && !stopping)
		pthread_cond_wait(&queue_has_room, &lock);
	if (queued < QUEUE_LENGTH)
		queue[(queue_first + queued++) % QUEUE_LENGTH] = client;
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&queue_has_clients);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct client *client;
	while ((client = take_ready(worker)))
		serve_client(worker, client);
	return NULL;
}

/* NULL when the server stops. */
static struct client *take_ready(struct worker *worker)
{
	struct client *client = NULL;
	pthread_mutex_lock(&lock);
	while (queued == 0 && !stopping) {
		pthread_cond_wait(&queue_has_clients, &lock);
		worker->counters.wakeups++;
	}
	if (!stopping) {
		client = queue[queue_first];
		queue_first = (queue_first + 1) % QUEUE_LENGTH;
		queued--;
	}
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&queue_has_room);
	return client;
}

/* One read for an event: if more is there, the client goes to the end of the queue. */
static void serve_client(struct worker *worker, struct client *client)
{
	conn_move(&client->conn, &worker->core); /* another worker may have served it before */
	bool readable = client->ready & (EPOLLIN | EPOLLHUP | EPOLLERR);
	if (!(readable && conn_wants(&client->conn) & CONN_RECV) || receive(worker, client))
		advance(worker, client);
}

/* False if the client is gone. */
static bool receive(struct worker *worker, struct client *client)
{
	size_t room = conn_room(&client->conn), most = sizeof worker->received;
	ssize_t n = net_recv(client->fd, worker->received, room < most ? room : most);
	if (n == NET_FAILED) {
		lose_client(worker, client);
		return false;
	}
	if (n == NET_AGAIN)
		worker->counters.eagain++;
	else if (n > 0)
		conn_feed(&client->conn, worker->received, (size_t)n);
	else
		conn_eof(&client->conn);
	return true;
}

/* Does what the connection wants, sleeping through its delays, until it has to wait for the peer. */
static void advance(struct worker *worker, struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT && !stopping; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			struct span output = conn_output(&client->conn);
			ssize_t n = net_send(client->fd, output);
			if (n == NET_FAILED) {
				lose_client(worker, client);
				return;
			}
			if (n == NET_AGAIN) {
				worker->counters.eagain++;
				break;
			}
			conn_sent(&client->conn, (size_t)n);
			if ((size_t)n < output.len)
				break; /* a short write: the socket is full */
		} else if (wants & CONN_PAUSE) {
			if (!pause_on(client->fd, conn_pause(&client->conn))) {
				lose_client(worker, client);
				return;
			}
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
	arm(client);
}

/* What fails after our own shutdown is no error of the peer. */
static void lose_client(struct worker *worker, struct client *client)
{
	if (!stopping)
		count_error(&worker->counters);
	close_client(client);
}

/* Writability is asked for only after EAGAIN; or when the turns are used up, to be called again at once. The
 * lock is there for whoever has the client next: it comes after this call, and not only after what the call
 * began. The kernel holds a lock of its own meanwhile, so not much more stands in line. */
static void arm(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = client};
	if (wants & CONN_RECV)
		event.events |= EPOLLIN;
	if (wants != CONN_RECV)
		event.events |= EPOLLOUT;
	pthread_mutex_lock(&lock);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
	pthread_mutex_unlock(&lock);
}

/* Leaves the list before its descriptor's number can belong to another; has ended when all is given back. */
static void close_client(struct client *client)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(client, all);
	count_close(&counters);
	pthread_mutex_unlock(&lock);

	conn_drop(&client->conn);
	close(client->fd);
	free(client);

	pthread_mutex_lock(&lock);
	ended++;
	if (!accepting)
		watch_listener(true, EPOLL_CTL_MOD);
	pthread_mutex_unlock(&lock);
}

/* A shutdown ends the waits on that socket, of epoll_wait and pause_on, begun or not. */
static void stop(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	shutdown(listen_fd, SHUT_RDWR);
	for (struct client *client = LIST_FIRST(&clients); client; client = LIST_NEXT(client, all))
		shutdown(client->fd, SHUT_RDWR);
	pthread_cond_broadcast(&queue_has_room);
	pthread_cond_broadcast(&queue_has_clients);
	pthread_mutex_unlock(&lock);

	pthread_join(dispatcher, NULL);
	for (unsigned i = 0; i < options.workers; i++)
		pthread_join(workers[i].thread, NULL);
	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
}
