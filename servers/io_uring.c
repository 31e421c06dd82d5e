/* io_uring: one thread, one ring; the kernel does the work and reports completions.
 *
 * Readiness is never asked for. Operations go into a queue that the kernel shares, results come back through
 * another, and one system call per turn hands in all that is new and waits. One accept, and one receive for
 * each client, are handed in once and complete again and again (multishot), each time with bytes in a buffer
 * that the kernel has taken from a ring of ours.
 *
 * What that costs is lifetime: an operation in flight holds the client's memory and socket, so a client is
 * let go only when its last operation has completed, and whoever wants it gone sooner has to cancel.
 *
 * Per request, one connection at a time: io_uring_enter twice (the send's completion ends a wait, too).
 * Needs Linux 6.1 (IORING_SETUP_DEFER_TASKRUN) and a sandbox that allows it; pkg-config: liburing
 * Try: build/servers/io_uring --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "net.h"
#include "pause.h"
#include "uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SUBMISSIONS = 256,    /* in one turn without a further system call */
	COMPLETIONS = 2048,   /* what exceeds it waits in kernel memory, at a cost */
	BUFFERS = 64,         /* so many receives can complete in one turn */
	BUFFER_BYTES = 32768, /* together 2 MiB: used in turn, more would displace each other from the cache */
	RETRY_NS = 100000000,
};

/* What completed; in the low bits of user_data, beside the client's address. */
enum operation { STOP, ACCEPT, RECEIVE, SEND, READ, CANCEL, OPERATION_BITS = 7 };

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;
	unsigned in_flight; /* one bit for each operation: what it uses is lent to the kernel */
	bool leaving;       /* to be closed when nothing is in flight */
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd;
static bool accepting;
static struct io_uring ring;
static struct uring_buffers buffers;

static void start_ring(void);
static void submit(struct io_uring_sqe *sqe, enum operation operation, struct client *client);
static bool is_in_flight(const struct client *client, enum operation operation);
static void submit_stop(void);
static void submit_accept(void);
static void turn(void);
static void submit_and_wait(void);
static void wait_for_room(bool closed_one);
static void handle_completion(const struct io_uring_cqe *cqe);
static void accepted(const struct io_uring_cqe *cqe);
static void open_client(int fd);
static void completed(struct client *client, enum operation operation, const struct io_uring_cqe *cqe);
static void received(struct client *client, const struct io_uring_cqe *cqe);
static bool failed(enum operation operation, int result);
static void advance(struct client *client);
static bool begin_pause(struct client *client);
static void submit_send(struct client *client);
static void submit_read(struct client *client, struct pause pause);
static void set_receiving(struct client *client);
static void cancel(struct client *client, enum operation operation);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "io_uring",
	.thesis = "One thread hands operations to the kernel and waits for completions, in one system call.",
	.needs = "Linux 6.1 with io_uring allowed",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, 0);
	start_ring();
	submit_stop();
	submit_accept();
	server_ready(listen_fd, &options);

	while (!server_stopping)
		turn();

	for (struct client *client = LIST_FIRST(&clients), *next; client; client = next) {
		next = LIST_NEXT(client, all);
		close_client(client);
	}
	cancel(NULL, ACCEPT);
	while (accepting || !LIST_EMPTY(&clients)) /* else the kernel would keep the port for a while */
		turn();
	io_uring_queue_exit(&ring);
	free(buffers.ring);
	free(buffers.memory);
	close(listen_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* SINGLE_ISSUER: no other thread submits, so the kernel leaves out locks. DEFER_TASKRUN: it works off what
 * became ready while we wait, and never interrupts us for it. */
static void start_ring(void)
{
	unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	uring_start(&ring, SUBMISSIONS, COMPLETIONS, flags, "6.1");
	uring_provide(&ring, &buffers, BUFFERS, BUFFER_BYTES);
}

/* Hands a prepared operation in, with the next system call. */
static void submit(struct io_uring_sqe *sqe, enum operation operation, struct client *client)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)client | operation);
	if (client)
		client->in_flight |= 1U << operation;
}

static bool is_in_flight(const struct client *client, enum operation operation)
{
	return client->in_flight & 1U << operation;
}

/* The signals stay blocked and are awaited like everything else: there is nothing they could interrupt. */
static void submit_stop(void)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_poll_add(sqe, uring_stop_fd(), POLLIN);
	submit(sqe, STOP, NULL);
}

static void submit_accept(void)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
	submit(sqe, ACCEPT, NULL);
	accepting = true;
}

static void turn(void)
{
	uint64_t closed = counters.closed;
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	submit_and_wait();
	io_uring_for_each_cqe(&ring, head, cqe)
	{
		handle_completion(cqe);
		n++;
	}
	io_uring_cq_advance(&ring, n);
	counters.wakeups++;
	counters.events += n;
	resume_expired();
	if (!accepting && !server_stopping)
		wait_for_room(counters.closed > closed);
}

/* Everything prepared goes to the kernel, and the wait ends with the first completion, in one system call. */
static void submit_and_wait(void)
{
	struct timespec wait;
	struct __kernel_timespec timeout;
	bool timed = pause_timeout(&deadlines, &wait);
	if (timed)
		timeout = (struct __kernel_timespec){wait.tv_sec, wait.tv_nsec};
	struct io_uring_cqe *cqe;
	int error = -io_uring_submit_and_wait_timeout(&ring, &cqe, 1, timed ? &timeout : NULL, NULL);
	if (error > 0 && error != ETIME && error != EINTR && error != EAGAIN && error != EBUSY)
		die("io_uring_enter: %s", strerror(error));
}

/* The accept has ended because something ran out, and would end again at once. A client of ours that closes
 * makes room, also one that did so before the accept's end was seen. Without any, others hold what is missing,
 * and a short sleep keeps nobody waiting. */
static void wait_for_room(bool closed_one)
{
	if (!closed_one && counters.open > 0)
		return;
	if (!closed_one)
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
	submit_accept();
}

static void handle_completion(const struct io_uring_cqe *cqe)
{
	struct client *client = (struct client *)(uintptr_t)(cqe->user_data & ~(uint64_t)OPERATION_BITS);
	enum operation operation = (enum operation)(cqe->user_data & OPERATION_BITS);
	if (client)
		completed(client, operation, cqe);
	else if (operation == ACCEPT)
		accepted(cqe);
	else if (operation == STOP)
		server_stopping = 1;
}

static void accepted(const struct io_uring_cqe *cqe)
{
	accepting = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res >= 0) {
		if (server_stopping)
			close(cqe->res);
		else
			open_client(cqe->res);
	} else {
		errno = -cqe->res;
		int failure = net_accept_failure(errno);
		if (failure == NET_FAILED)
			die("accept: %s", strerror(errno));
		if (failure == NET_FULL) {
			count_error(&counters);
			return; /* to turn() and wait_for_room() */
		}
	}
	if (!accepting && !server_stopping)
		submit_accept();
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
	set_receiving(client);
}

static void completed(struct client *client, enum operation operation, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		client->in_flight &= ~(1U << operation);
	if (operation == RECEIVE)
		received(client, cqe);
	else if (operation == READ)
		conn_read(&client->conn, cqe->res);
	else if (operation == SEND && cqe->res > 0)
		conn_sent(&client->conn, (size_t)cqe->res);

	if (client->leaving || failed(operation, cqe->res))
		close_client(client);
	else
		advance(client);
}

/* A buffer goes back at once: the core has copied what it keeps. */
static void received(struct client *client, const struct io_uring_cqe *cqe)
{
	unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	if (cqe->res > 0 && !client->leaving)
		conn_feed(&client->conn, uring_buffer(&buffers, buffer), (size_t)cqe->res);
	if (cqe->res == 0 && !client->leaving)
		conn_eof(&client->conn);
	if (cqe->flags & IORING_CQE_F_BUFFER)
		uring_give(&buffers, buffer);
}

/* Is the client lost? Of a read that failed it is told. A receive may end because it was cancelled, or because
 * this turn's completions hold all buffers: the next turn has them back. */
static bool failed(enum operation operation, int result)
{
	if (result >= 0 || operation == READ || operation == CANCEL)
		return false;
	if (operation == RECEIVE && result == -ECANCELED)
		return false;
	if (operation == RECEIVE && result == -ENOBUFS) {
		counters.eagain++;
		return false;
	}
	errno = -result;
	count_error(&counters);
	return true;
}

/* Does what the connection wants until it has to wait, for the peer or for time. One send per turn, and every
 * other want leads to a send or to the peer: this ends by itself. */
static void advance(struct client *client)
{
	for (;;) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			if (!is_in_flight(client, SEND))
				submit_send(client);
			break;
		} else if (wants & CONN_PAUSE) {
			if (begin_pause(client))
				break;
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
	set_receiving(client);
}

/* False if the pause was carried out here, and is over. */
static bool begin_pause(struct client *client)
{
	struct pause pause = conn_pause(&client->conn);
	if (pause.kind == PAUSE_DELAY) {
		if (!deadline_is_set(&client->deadline))
			pause_begin(&deadlines, &client->deadline, pause);
	} else if (pause.kind == PAUSE_FILE) {
		if (!is_in_flight(client, READ))
			submit_read(client, pause);
	} else {
		pause_here(pause);
		conn_did(&client->conn, CONN_PAUSE);
		return false;
	}
	return true;
}

/* MSG_WAITALL: where the socket takes only a part, the kernel waits and goes on, and completes once. */
static void submit_send(struct client *client)
{
	struct span output = conn_output(&client->conn);
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_send(sqe, client->fd, output.data, output.len, MSG_NOSIGNAL | MSG_WAITALL);
	submit(sqe, SEND, client);
}

/* To poll and epoll a file is always ready, and then the read blocks. A ring takes it like everything else. */
static void submit_read(struct client *client, struct pause pause)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_read(sqe, pause.fd, pause.buf, (unsigned)pause.len, (uint64_t)pause.offset);
	submit(sqe, READ, client);
}

/* A multishot receive goes on delivering whether or not there is room: without room it has to end. Until then
 * it can fill all buffers there are, and what they bring is kept. A client that is owed something has filled
 * its room before and gets one receive at a time, no longer than the room. */
static void set_receiving(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	bool receiving = is_in_flight(client, RECEIVE);
	if (wants & CONN_RECV && !receiving) {
		struct io_uring_sqe *sqe = uring_sqe(&ring);
		if (wants & CONN_SEND)
			io_uring_prep_recv(sqe, client->fd, NULL, conn_room(&client->conn), 0);
		else
			io_uring_prep_recv_multishot(sqe, client->fd, NULL, 0, 0);
		io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
		submit(sqe, RECEIVE, client);
	} else if (!(wants & CONN_RECV) && receiving && !is_in_flight(client, CANCEL)) {
		cancel(client, RECEIVE); /* again, if it was missed while it was at work */
	}
}

static void cancel(struct client *client, enum operation operation)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_cancel64(sqe, (uintptr_t)client | operation, 0);
	submit(sqe, CANCEL, client);
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

/* Called again when one of its operations completes: while any is in flight, the kernel holds the client's
 * memory and socket. close() alone would neither end them nor send a FIN; after a shutdown a receive and a send
 * end at once, and a read does so by itself. */
static void close_client(struct client *client)
{
	if (!client->leaving) {
		client->leaving = true;
		deadline_clear(&deadlines, &client->deadline);
		if (client->in_flight)
			shutdown(client->fd, SHUT_RDWR);
	}
	if (client->in_flight)
		return;
	conn_drop(&client->conn);
	close(client->fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
}
