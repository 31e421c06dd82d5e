/* lab/uring_workers: a ring for each of several threads or processes, and the ways in which clients get to
 * them.
 *
 * Each worker is a loop like servers/io_uring.c. All have an accept under way on one listener, and the kernel
 * wakes one of them for each client (shared); each has a listener of its own, and the kernel spreads by a hash
 * of the addresses (reuseport); or the main thread's ring accepts and passes each client to the next worker as
 * a message from ring to ring, which arrives as a completion like any other (dispatch).
 *
 * What the report's `workers` shows: how evenly clients and requests were spread. lab/workers is the same with
 * epoll.
 *
 * Needs Linux 6.1, 6.3 for --accept dispatch, and POSIX threads; pkg-config: liburing
 * Try: build/lab/uring_workers --workers 4 --accept reuseport --protocol http --port 8080
 */
#include "crew.h"
#include "net.h"
#include "pause.h"
#include "uring.h"

#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/syscall.h>

enum {
	SUBMISSIONS = 256,
	COMPLETIONS = 2048,
	BUFFERS = 64,
	BUFFER_BYTES = 32768,
	RETRY_NS = 100000000,
};

/* What completed; in the low bits of user_data, beside the client's address or a passed descriptor. */
enum operation { STOP, ACCEPT, PASS, RECEIVE, SEND, CANCEL, OPERATION_BITS = 7, FD_SHIFT = 3 };

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;
	unsigned in_flight; /* one bit for each operation: what it uses is lent to the kernel */
	bool leaving;       /* to be closed when nothing is in flight */
};

struct worker {
	_Alignas(64) struct core core; /* no cache line belongs to two workers */
	struct counters counters;
	struct deadlines deadlines;
	struct deadline retry; /* to accept again, when it ran out of descriptors */
	LIST_HEAD(, client) clients;
	struct hand hand;
	struct io_uring ring;
	struct uring_buffers buffers;
	int listen_fd;
	bool accepting, stopping;
};

static struct options options;
static struct worker *workers;      /* in memory that child processes share */
static struct counters at_the_door; /* errors of the main thread, when it accepts */
static int stop_fd;                 /* an eventfd that all workers watch; nobody reads it */

static struct knob knobs[] = {
	{"accept",
		"all accept from one listener, or from one each, or the main thread's ring accepts for them "
		"(6.3)",
		.choices = "shared|reuseport|dispatch"},
	{"spawn", "what a worker is", .choices = "threads|processes"},
	{0},
};
enum { HOW, SPAWN };
enum { SHARED, REUSEPORT, DISPATCH };

static void check_knobs(void);
static void start_ring(struct io_uring *ring);
static void enable_ring(struct io_uring *ring);
static void start_workers(int listen_fd);
static void deal_out(int listen_fd);
static void pass(struct io_uring *door, const struct io_uring_cqe *cqe);
static void submit_pass(struct io_uring *door, int fd);
static bool stop_workers(void);
static int report(void);
static void *work(void *argument);
static void submit(struct io_uring_sqe *sqe, enum operation operation, struct client *client);
static bool is_in_flight(const struct client *client, enum operation operation);
static void submit_stop(struct io_uring *ring, int fd);
static void submit_accept(struct io_uring *ring, int listen_fd);
static void turn(struct worker *worker);
static void submit_and_wait(struct io_uring *ring, const struct timespec *wait);
static void wait_for_room(struct worker *worker, bool closed_one);
static void accept_again(struct worker *worker);
static void handle_completion(struct worker *worker, const struct io_uring_cqe *cqe);
static void accepted(struct worker *worker, const struct io_uring_cqe *cqe);
static void open_client(struct worker *worker, int fd);
static void completed(
	struct worker *worker, struct client *client, enum operation operation, const struct io_uring_cqe *cqe);
static void received(struct worker *worker, struct client *client, const struct io_uring_cqe *cqe);
static bool failed(struct worker *worker, enum operation operation, int result);
static void advance(struct worker *worker, struct client *client);
static bool begin_pause(struct worker *worker, struct client *client);
static void submit_send(struct worker *worker, struct client *client);
static void set_receiving(struct worker *worker, struct client *client);
static void cancel(struct worker *worker, struct client *client, enum operation operation);
static void resume_expired(struct worker *worker);
static void close_client(struct worker *worker, struct client *client);

static const struct model model = {
	.name = "uring_workers",
	.thesis = "Several rings: how do clients get to them, and how evenly are they spread?",
	.needs = "Linux 6.1 with io_uring allowed",
	.workers = 2,
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	check_knobs();
	int listen_fd = server_start(&options, 0);
	start_workers(listen_fd);

	if (knobs[HOW].value == DISPATCH) {
		deal_out(listen_fd);
	} else {
		server_ready(listen_fd, &options);
		while (!server_stopping)
			sigsuspend(&server_wait_mask);
	}
	bool well = stop_workers();
	close(listen_fd);
	int status = report();
	return well ? status : 1;
}

static void check_knobs(void)
{
	if (knobs[HOW].value == DISPATCH && knobs[SPAWN].value)
		options_refuse(model.name, "--accept dispatch and --spawn processes do not fit: "
					   "a descriptor's number means nothing to another process");
	if (knobs[HOW].value == REUSEPORT && options.unix_path)
		options_refuse(model.name, "--accept reuseport and --listen do not fit: only TCP has ports");
}

/* Disabled, until the thread that is going to use it enables it: that one is then the single issuer. */
static void start_ring(struct io_uring *ring)
{
	unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED;
	uring_start(ring, SUBMISSIONS, COMPLETIONS, flags, "6.1");
	io_uring_unregister_ring_fd(ring); /* the place in a table that belongs to this thread */
}

/* By hand: liburing 2.3 declares a helper that its library lacks. */
static void enable_ring(struct io_uring *ring)
{
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) != 0)
		die("io_uring_register: %s", strerror(errno));
	io_uring_register_ring_fd(ring);
}

static void start_workers(int listen_fd)
{
	workers = crew_memory(options.workers * sizeof *workers);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (stop_fd < 0)
		die("eventfd: %s", strerror(errno));
	for (unsigned i = 0; i < options.workers; i++) {
		struct worker *worker = &workers[i];
		worker->core = options.core;
		LIST_INIT(&worker->clients);
		start_ring(&worker->ring);
		worker->listen_fd = listen_fd;
		if (knobs[HOW].value == REUSEPORT && i == 0)
			crew_share_port(listen_fd);
		else if (knobs[HOW].value == REUSEPORT)
			worker->listen_fd = crew_listener(listen_fd, 0, options.backlog);
	}
	for (unsigned i = 0; i < options.workers; i++)
		workers[i].hand = crew_start(knobs[SPAWN].value, work, &workers[i]);
}

/* The main thread accepts, and passes the descriptors on in turn. Without descriptors left it has no client of
 * its own whose end it would see, so it tries again after a while. */
static void deal_out(int listen_fd)
{
	struct io_uring door;
	start_ring(&door);
	enable_ring(&door);
	submit_stop(&door, uring_stop_fd());
	submit_accept(&door, listen_fd);
	server_ready(listen_fd, &options);
	while (!server_stopping) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		submit_and_wait(&door, NULL);
		bool accepting = true;
		io_uring_for_each_cqe(&door, head, cqe)
		{
			if ((cqe->user_data & OPERATION_BITS) == STOP)
				server_stopping = 1;
			else if ((cqe->user_data & OPERATION_BITS) == ACCEPT)
				accepting = cqe->flags & IORING_CQE_F_MORE;
			pass(&door, cqe);
			n++;
		}
		io_uring_cq_advance(&door, n);
		if (!accepting && !server_stopping)
			submit_accept(&door, listen_fd);
	}
	io_uring_queue_exit(&door);
}

/* What the accept brings goes to the next worker; what a worker's ring did not take, to the one after it. */
static void pass(struct io_uring *door, const struct io_uring_cqe *cqe)
{
	enum operation operation = (enum operation)(cqe->user_data & OPERATION_BITS);
	errno = cqe->res < 0 ? -cqe->res : 0;
	if (operation == ACCEPT && !errno) {
		submit_pass(door, cqe->res);
	} else if (operation == ACCEPT) {
		int failure = net_accept_failure(errno);
		if (failure == NET_FAILED)
			die("accept: %s", strerror(errno));
		if (failure == NET_FULL) {
			count_error(&at_the_door);
			pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
		}
	} else if (operation == PASS && errno == EINVAL) {
		cannot_run("--accept dispatch: messages from ring to ring: %s; they need Linux 6.3",
			strerror(errno));
	} else if (operation == PASS && errno) { /* it is not enabled yet, or has no room */
		submit_pass(door, (int)(cqe->user_data >> FD_SHIFT));
	}
}

static void submit_pass(struct io_uring *door, int fd)
{
	static unsigned next;
	const struct worker *worker = &workers[next++ % options.workers];
	struct io_uring_sqe *sqe = uring_sqe(door);
	io_uring_prep_msg_ring(sqe, worker->ring.ring_fd, (unsigned)fd, PASS, 0);
	io_uring_sqe_set_data64(sqe, (uint64_t)fd << FD_SHIFT | PASS);
}

/* False if a worker process did not end well. */
static bool stop_workers(void)
{
	bool well = true;
	if (write(stop_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		die("eventfd: %s", strerror(errno));
	for (unsigned i = 0; i < options.workers; i++)
		well &= crew_join(workers[i].hand);
	return well;
}

static int report(void)
{
	struct counters sum = at_the_door, each[options.workers];
	uint64_t requests = 0, of_each[options.workers];
	for (unsigned i = 0; i < options.workers; i++) {
		each[i] = workers[i].counters;
		of_each[i] = workers[i].core.requests;
		requests += of_each[i];
		counters_add(&sum, &each[i]);
	}
	return server_report_workers(&sum, requests, each, of_each, options.workers);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	enable_ring(&worker->ring);
	uring_provide(&worker->ring, &worker->buffers, BUFFERS, BUFFER_BYTES);
	submit_stop(&worker->ring, stop_fd);
	if (knobs[HOW].value != DISPATCH)
		accept_again(worker);
	while (!worker->stopping)
		turn(worker);

	for (struct client *client = LIST_FIRST(&worker->clients), *next; client; client = next) {
		next = LIST_NEXT(client, all);
		close_client(worker, client);
	}
	if (worker->accepting)
		cancel(worker, NULL, ACCEPT);
	while (worker->accepting || !LIST_EMPTY(&worker->clients))
		turn(worker);
	io_uring_queue_exit(&worker->ring);
	free(worker->buffers.ring);
	free(worker->buffers.memory);
	deadlines_free(&worker->deadlines);
	core_free(&worker->core);
	return NULL;
}

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

static void submit_stop(struct io_uring *ring, int fd)
{
	struct io_uring_sqe *sqe = uring_sqe(ring);
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	submit(sqe, STOP, NULL);
}

static void submit_accept(struct io_uring *ring, int listen_fd)
{
	struct io_uring_sqe *sqe = uring_sqe(ring);
	io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
	submit(sqe, ACCEPT, NULL);
}

static void turn(struct worker *worker)
{
	uint64_t closed = worker->counters.closed;
	struct timespec timeout;
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	submit_and_wait(&worker->ring, pause_timeout(&worker->deadlines, &timeout));
	io_uring_for_each_cqe(&worker->ring, head, cqe)
	{
		handle_completion(worker, cqe);
		n++;
	}
	io_uring_cq_advance(&worker->ring, n);
	worker->counters.wakeups++;
	worker->counters.events += n;
	resume_expired(worker);
	if (!worker->accepting && !worker->stopping && knobs[HOW].value != DISPATCH)
		wait_for_room(worker, worker->counters.closed > closed);
}

static void submit_and_wait(struct io_uring *ring, const struct timespec *wait)
{
	struct __kernel_timespec timeout;
	if (wait)
		timeout = (struct __kernel_timespec){wait->tv_sec, wait->tv_nsec};
	struct io_uring_cqe *cqe;
	int error = -io_uring_submit_and_wait_timeout(ring, &cqe, 1, wait ? &timeout : NULL, NULL);
	if (error > 0 && error != ETIME && error != EINTR && error != EAGAIN && error != EBUSY)
		die("io_uring_enter: %s", strerror(error));
}

/* The descriptors are everybody's, and whoever gives one back tells nobody else: so a worker asks again after a
 * while, unless a client of its own closes before. */
static void wait_for_room(struct worker *worker, bool closed_one)
{
	struct pause retry = {.kind = PAUSE_DELAY, .amount = RETRY_NS};
	if (closed_one)
		accept_again(worker);
	else if (!deadline_is_set(&worker->retry))
		pause_begin(&worker->deadlines, &worker->retry, retry);
}

static void accept_again(struct worker *worker)
{
	deadline_clear(&worker->deadlines, &worker->retry);
	submit_accept(&worker->ring, worker->listen_fd);
	worker->accepting = true;
}

static void handle_completion(struct worker *worker, const struct io_uring_cqe *cqe)
{
	struct client *client = (struct client *)(uintptr_t)(cqe->user_data & ~(uint64_t)OPERATION_BITS);
	enum operation operation = (enum operation)(cqe->user_data & OPERATION_BITS);
	if (client)
		completed(worker, client, operation, cqe);
	else if (operation == ACCEPT)
		accepted(worker, cqe);
	else if (operation == PASS)
		open_client(worker, cqe->res);
	else if (operation == STOP)
		worker->stopping = true;
}

static void accepted(struct worker *worker, const struct io_uring_cqe *cqe)
{
	worker->accepting = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res >= 0) {
		open_client(worker, cqe->res);
	} else {
		errno = -cqe->res;
		int failure = net_accept_failure(errno);
		if (failure == NET_FAILED && !worker->stopping)
			die("accept: %s", strerror(errno));
		if (failure == NET_FULL) {
			count_error(&worker->counters);
			return; /* to turn() and wait_for_room() */
		}
	}
	if (!worker->accepting && !worker->stopping)
		accept_again(worker);
}

static void open_client(struct worker *worker, int fd)
{
	if (worker->stopping) {
		close(fd);
		return;
	}
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	conn_open(&client->conn, &worker->core);
	LIST_INSERT_HEAD(&worker->clients, client, all);
	count_open(&worker->counters);
	set_receiving(worker, client);
}

static void completed(
	struct worker *worker, struct client *client, enum operation operation, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		client->in_flight &= ~(1U << operation);
	if (operation == RECEIVE)
		received(worker, client, cqe);
	else if (operation == SEND && cqe->res > 0)
		conn_sent(&client->conn, (size_t)cqe->res);

	if (client->leaving || failed(worker, operation, cqe->res))
		close_client(worker, client);
	else
		advance(worker, client);
}

static void received(struct worker *worker, struct client *client, const struct io_uring_cqe *cqe)
{
	unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	if (cqe->res > 0 && !client->leaving)
		conn_feed(&client->conn, uring_buffer(&worker->buffers, buffer), (size_t)cqe->res);
	if (cqe->res == 0 && !client->leaving)
		conn_eof(&client->conn);
	if (cqe->flags & IORING_CQE_F_BUFFER)
		uring_give(&worker->buffers, buffer);
}

static bool failed(struct worker *worker, enum operation operation, int result)
{
	if (result >= 0 || operation == CANCEL || (operation == RECEIVE && result == -ECANCELED))
		return false;
	if (operation == RECEIVE && result == -ENOBUFS) {
		worker->counters.eagain++;
		return false;
	}
	errno = -result;
	count_error(&worker->counters);
	return true;
}

static void advance(struct worker *worker, struct client *client)
{
	for (;;) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			if (!is_in_flight(client, SEND))
				submit_send(worker, client);
			break;
		} else if (wants & CONN_PAUSE) {
			if (begin_pause(worker, client))
				break;
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(worker, client);
			return;
		} else {
			break;
		}
	}
	set_receiving(worker, client);
}

/* False if the pause was carried out here, and is over. */
static bool begin_pause(struct worker *worker, struct client *client)
{
	struct pause pause = conn_pause(&client->conn);
	if (pause.kind == PAUSE_DELAY) {
		if (!deadline_is_set(&client->deadline))
			pause_begin(&worker->deadlines, &client->deadline, pause);
		return true;
	}
	pause_here(pause);
	conn_did(&client->conn, CONN_PAUSE);
	return false;
}

static void submit_send(struct worker *worker, struct client *client)
{
	struct span output = conn_output(&client->conn);
	struct io_uring_sqe *sqe = uring_sqe(&worker->ring);
	io_uring_prep_send(sqe, client->fd, output.data, output.len, MSG_NOSIGNAL | MSG_WAITALL);
	submit(sqe, SEND, client);
}

static void set_receiving(struct worker *worker, struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	bool receiving = is_in_flight(client, RECEIVE);
	if (wants & CONN_RECV && !receiving) {
		struct io_uring_sqe *sqe = uring_sqe(&worker->ring);
		if (wants & CONN_SEND)
			io_uring_prep_recv(sqe, client->fd, NULL, conn_room(&client->conn), 0);
		else
			io_uring_prep_recv_multishot(sqe, client->fd, NULL, 0, 0);
		io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
		submit(sqe, RECEIVE, client);
	} else if (!(wants & CONN_RECV) && receiving && !is_in_flight(client, CANCEL)) {
		cancel(worker, client, RECEIVE);
	}
}

static void cancel(struct worker *worker, struct client *client, enum operation operation)
{
	struct io_uring_sqe *sqe = uring_sqe(&worker->ring);
	io_uring_prep_cancel64(sqe, (uintptr_t)client | operation, 0);
	submit(sqe, CANCEL, client);
}

static void resume_expired(struct worker *worker)
{
	struct deadline *deadline;
	while ((deadline = pause_expired(&worker->deadlines))) {
		if (deadline == &worker->retry) {
			accept_again(worker);
			continue;
		}
		struct client *client = (struct client *)((char *)deadline - offsetof(struct client, deadline));
		conn_did(&client->conn, CONN_PAUSE);
		advance(worker, client);
	}
}

/* Called again when one of its operations completes: while any is in flight, the kernel holds the client's
 * memory and socket. */
static void close_client(struct worker *worker, struct client *client)
{
	if (!client->leaving) {
		client->leaving = true;
		deadline_clear(&worker->deadlines, &client->deadline);
		if (client->in_flight)
			shutdown(client->fd, SHUT_RDWR);
	}
	if (client->in_flight)
		return;
	conn_drop(&client->conn);
	close(client->fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&worker->counters);
}
