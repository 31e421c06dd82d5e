/* thread_per_conn: a thread for each connection.
 *
 * One thread accepts; every client gets a thread of its own, which serves it as blocking.c serves its only one:
 * straight down the page, waiting in each call. The scheduler is the event loop. What a client costs that does
 * nothing is a thread that does nothing: the touched pages of its stack, and in the kernel a task with a stack
 * of its own. One that does something costs a switch to its thread for every request, and one that comes and
 * goes a thread made and ended.
 *
 * While a send waits nothing is read: a client that sends on and never reads stops its own echo, nobody else's.
 *
 * Per request, one connection at a time: recv, send.
 * A return from accept or recv counts as a wake-up that brings one event.
 * Per idle connection: a thread and its stack.
 * Needs POSIX threads.
 * Try: build/servers/thread_per_conn --protocol greet --delay 2s --port 8080, then nc 127.0.0.1 8080 twice
 */
#include "clock.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STACK_BYTES = 65536, /* of which the calls below touch a few pages; the default is 8 MiB */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	struct core core;
	struct counters counters;
	LIST_ENTRY(client) all;
	int fd;
	uint8_t received[65536]; /* not on the stack, where a compiler that probes for overflow touches every
				    page */
};

static struct options options;
static pthread_attr_t small_and_detached;
static int listen_fd;
static struct counters accepts; /* the accepting thread's waits */
static atomic_bool stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static pthread_cond_t client_ended = PTHREAD_COND_INITIALIZER;
static LIST_HEAD(, client) clients; /* whose descriptors are open */
static struct counters counters;    /* of clients that come and go; each adds its own when it goes */
static uint64_t requests, ended, ended_seen;

static void *accept_clients(void *unused);
static void open_client(int fd);
static void wait_for_room(void);
static void *run_client(void *client);
static bool send_output(struct client *client);
static bool sleep_or_work(struct client *client);
static bool receive(struct client *client);
static bool lost(struct client *client);
static void close_client(struct client *client);
static void stop(pthread_t acceptor);

static const struct model model = {
	.name = "thread_per_conn",
	.thesis = "A thread for each connection waits in each call; the kernel's scheduler is the event loop.",
	.needs = "",
};

/* Only the main thread takes SIGTERM, and does nothing else: a signal handler may take no lock. */
int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, 0);
	pthread_attr_init(&small_and_detached);
	pthread_attr_setstacksize(&small_and_detached, STACK_BYTES);
	pthread_attr_setdetachstate(&small_and_detached, PTHREAD_CREATE_DETACHED);
	pthread_t acceptor;
	int error = pthread_create(&acceptor, NULL, accept_clients, NULL);
	if (error)
		die("pthread_create for the thread that accepts: %s", strerror(error));
	server_ready(listen_fd, &options);

	while (!server_stopping)
		sigsuspend(&server_wait_mask);

	stop(acceptor);
	counters_add(&counters, &accepts);
	close(listen_fd);
	return server_report(&counters, requests);
}

static void *accept_clients(void *unused)
{
	while (!stopping) {
		int fd = net_accept(listen_fd, SOCK_CLOEXEC);
		accepts.wakeups++;
		if (fd == NET_FULL) {
			wait_for_room();
		} else if (fd == NET_FAILED && !stopping) {
			die("accept4: %s", strerror(errno));
		} else if (fd >= 0) {
			accepts.events++;
			open_client(fd);
		}
	}
	return unused;
}

static void open_client(int fd)
{
	struct client *client = malloc(sizeof *client);
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	client->core = options.core;
	client->counters = (struct counters){0};
	conn_open(&client->conn, &client->core);

	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	pthread_mutex_unlock(&lock);

	while (!stopping) {
		pthread_t thread;
		int error = pthread_create(&thread, &small_and_detached, run_client, client);
		if (error == 0)
			return;
		errno = error;
		wait_for_room();
	}
	close_client(client);
}

/* Without a descriptor or a thread to be had, waits for a client to close, unless one has since the last time.
 * But not for ever: others may have used up what the whole host has, and it is not our clients who give it
 * back. */
static void wait_for_room(void)
{
	struct timespec until = clock_timespec(clock_now_ns() + RETRY_NS);
	pthread_mutex_lock(&lock);
	count_error(&counters);
	if (ended == ended_seen && !stopping)
		pthread_cond_clockwait(&client_ended, &lock, CLOCK_MONOTONIC, &until);
	ended_seen = ended;
	pthread_mutex_unlock(&lock);
}

/* Does what the connection wants, one thing after the other, until it is over. */
static void *run_client(void *argument)
{
	struct client *client = argument;
	for (bool connected = true; connected && !stopping;) {
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
	close_client(client);
	return NULL;
}

static bool send_output(struct client *client)
{
	ssize_t n = net_send(client->fd, conn_output(&client->conn));
	if (n == NET_FAILED)
		return lost(client);
	if (n > 0)
		conn_sent(&client->conn, (size_t)n);
	return true;
}

static bool sleep_or_work(struct client *client)
{
	if (!pause_on(client->fd, conn_pause(&client->conn)))
		return lost(client);
	conn_did(&client->conn, CONN_PAUSE);
	return true;
}

static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn), most = sizeof client->received;
	ssize_t n = net_recv(client->fd, client->received, room < most ? room : most);
	client->counters.wakeups++;
	if (n == NET_AGAIN)
		return true; /* stopped and continued */
	if (n == NET_FAILED)
		return lost(client);
	client->counters.events++;
	if (n > 0)
		conn_feed(&client->conn, client->received, (size_t)n);
	else
		conn_eof(&client->conn);
	return true;
}

/* What fails after our own shutdown is no error of the peer. Returns false: not connected. */
static bool lost(struct client *client)
{
	if (!stopping)
		count_error(&client->counters);
	return false;
}

/* Leaves the list before its descriptor's number can belong to another; has ended when all is given back. */
static void close_client(struct client *client)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(client, all);
	counters_add(&counters, &client->counters);
	requests += client->core.requests;
	count_close(&counters);
	pthread_mutex_unlock(&lock);

	conn_drop(&client->conn);
	core_free(&client->core);
	close(client->fd);
	free(client);

	pthread_mutex_lock(&lock);
	ended++;
	pthread_cond_broadcast(&client_ended);
	pthread_mutex_unlock(&lock);
}

/* A shutdown ends every wait on that socket, of accept, recv, send and pause_on, begun or not. Threads are not
 * joined but counted: the last one to end ends the wait. */
static void stop(pthread_t acceptor)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	shutdown(listen_fd, SHUT_RDWR);
	for (struct client *client = LIST_FIRST(&clients); client; client = LIST_NEXT(client, all))
		shutdown(client->fd, SHUT_RDWR);
	pthread_cond_broadcast(&client_ended);
	pthread_mutex_unlock(&lock);
	pthread_join(acceptor, NULL);

	pthread_mutex_lock(&lock);
	while (ended < counters.accepted)
		pthread_cond_wait(&client_ended, &lock);
	pthread_mutex_unlock(&lock);
	pthread_attr_destroy(&small_and_detached);
}
