/* linux_aio: one thread, the kernel's own asynchronous I/O, with an eventfd in epoll.
 *
 * Operations are handed in as iocbs, any number in one io_submit, and completions appear in a ring in our own
 * memory, where they are read without a system call. Each also counts up an eventfd, so that they can be waited
 * for in epoll, beside anything else that has a descriptor. Epoll watches for its edges: nobody ever reads it.
 *
 * Reading a socket this way would block: the kernel carries out a read or write inside io_submit, and only with
 * a file opened O_DIRECT does it return before the device has answered. What it does wait for elsewhere is
 * readiness, once for each iocb (IOCB_CMD_POLL). So clients are polled, received from and sent to, blocks of a
 * file are really read, and all of it is handed in with one call for a turn.
 *
 * An iocb in flight holds the client's memory and socket: a client has one at most, and is let go with none.
 * Bytes that arrive complete a poll at once; a FIN or a reset wakes it without saying why, and has a kernel
 * worker look again: a busy host learns late that somebody left.
 *
 * Per request, one connection at a time: epoll_pwait2, recv, send, io_submit.
 * Needs Linux 5.11 (epoll_pwait2) and room below sysctl fs.aio-max-nr.
 * Try: build/servers/linux_aio --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "kaio.h"
#include "net.h"
#include "pause.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_TURN = 256,
	BATCH = 256, /* iocbs in one io_submit */
	ACCEPTS_PER_WAKEUP = 64,
	TURNS_PER_EVENT = 16,
	FIRST_OPERATIONS = 512, /* the first context's */
	CONTEXTS = 12,          /* the last one is for a million */
	RETRY_NS = 100000000,
};

struct operation {
	struct iocb iocb;
	enum { NONE, QUEUED, IN_FLIGHT } state;
	int place; /* of its context */
};

struct client {
	struct operation operation; /* a poll; or a file's block is being read */
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;
	bool leaving; /* to be closed when its operation has completed */
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd, epoll_fd, event_fd;
static struct operation accepting;
static aio_context_t contexts[CONTEXTS];
static int newest = -1;
static unsigned operations; /* that the newest context takes at a time */
static struct operation *batch[BATCH];
static unsigned batched;
static uint8_t received[65536];

static bool add_context(void);
static void start_epoll(void);
static bool harvest(void);
static void handle_completion(const struct io_event *event);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static void handle_client(struct client *client, unsigned ready);
static void receive(struct client *client);
static void advance(struct client *client);
static void set_operation(struct client *client);
static void poll_for(struct operation *operation, int fd, unsigned interest, struct client *client);
static void read_file(struct operation *operation, struct pause pause, struct client *client);
static void queue(struct operation *operation);
static void submit(void);
static void resume_expired(void);
static void close_client(struct client *client);
static void free_client(struct client *client);

static const struct model model = {
	.name = "linux_aio",
	.thesis = "One thread hands polls to kernel AIO in batches, and reads completions from shared memory.",
	.needs = "Linux 5.11 with AIO allowed",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	if (!add_context())
		kaio_cannot_run(FIRST_OPERATIONS);
	start_epoll();
	poll_for(&accepting, listen_fd, POLLIN, NULL);
	submit();
	server_ready(listen_fd, &options);

	for (bool more = false; !server_stopping;) {
		/* What is left in a ring has had its edge: then the wait must not sleep. */
		struct timespec timeout = {0};
		struct epoll_event edge;
		if (epoll_pwait2(epoll_fd, &edge, 1, more ? &timeout : pause_timeout(&deadlines, &timeout),
			    &server_wait_mask) < 0 &&
			errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		counters.wakeups++;
		more = harvest();
		resume_expired();
		submit();
	}

	while (newest >= 0)
		kaio_close(contexts[newest--]); /* then nothing is in flight that would hold a client */
	while (!LIST_EMPTY(&clients))
		free_client(LIST_FIRST(&clients));
	close(event_fd);
	close(epoll_fd);
	close(listen_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* The kernel reserves a context's operations when it is made, from one sum for the whole host. So we begin with
 * few, and each further context is for twice as many. All that is new goes to the newest; what is in flight in
 * the others completes there. */
static bool add_context(void)
{
	unsigned twice = operations ? 2 * operations : FIRST_OPERATIONS;
	if (newest + 1 == CONTEXTS || !kaio_open(&contexts[newest + 1], twice))
		return false;
	newest++;
	operations = twice;
	return true;
}

static void start_epoll(void)
{
	struct epoll_event edges = {.events = EPOLLIN | EPOLLET};
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (event_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &edges) != 0)
		die("eventfd in epoll: %s", strerror(errno));
}

/* True: there may be more. */
static bool harvest(void)
{
	bool more = false;
	for (int place = 0; place <= newest; place++) {
		struct io_event events[EVENTS_PER_TURN];
		unsigned n = kaio_harvest(contexts[place], events, EVENTS_PER_TURN);
		for (unsigned i = 0; i < n; i++)
			handle_completion(&events[i]);
		counters.events += n;
		more |= n == EVENTS_PER_TURN;
	}
	return more;
}

static void handle_completion(const struct io_event *event)
{
	struct client *client = (struct client *)(uintptr_t)event->data;
	if (!client) {
		accepting.state = NONE;
		accept_clients();
		return;
	}
	client->operation.state = NONE;
	if (client->leaving) {
		free_client(client);
	} else if (client->operation.iocb.aio_lio_opcode == IOCB_CMD_PREAD) {
		conn_read(&client->conn, (ssize_t)event->res);
		advance(client);
	} else {
		handle_client(client, (unsigned)event->res);
	}
}

static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = NET_FULL; /* where no context takes another operation */
		if (counters.open + 1 < operations || add_context())
			fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN)
			break;
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			wait_for_room();
			return;
		}
		open_client(fd);
	}
	poll_for(&accepting, listen_fd, POLLIN, NULL);
}

/* A client of ours that closes makes room, and polls for the next one. Without any, others hold what is
 * missing, and a short sleep keeps nobody waiting. */
static void wait_for_room(void)
{
	if (counters.open > 0)
		return;
	pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
	poll_for(&accepting, listen_fd, POLLIN, NULL);
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
	set_operation(client);
}

static void handle_client(struct client *client, unsigned ready)
{
	unsigned wants = conn_wants(&client->conn);
	if (wants & CONN_RECV && ready & (POLLIN | POLLHUP | POLLERR))
		receive(client);
	else if (ready & (POLLHUP | POLLERR) && !(wants & CONN_SEND))
		close_client(client); /* reset while it waits for nothing of ours */
	else
		advance(client);
}

/* One read for a completion: if more is there, the next poll completes at once. */
static void receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	ssize_t n = net_recv(client->fd, received, room < sizeof received ? room : sizeof received);
	if (n == NET_AGAIN)
		counters.eagain++;
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return;
	}
	if (n > 0)
		conn_feed(&client->conn, received, (size_t)n);
	else if (n == 0)
		conn_eof(&client->conn);
	advance(client);
}

/* Does what the connection wants until it has to wait, for the peer, for time or for the disk. */
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
			if (pause.kind == PAUSE_FILE)
				break;
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
	set_operation(client);
}

/* Hands in what the client waits for. If a poll for something else is in flight, it is called back, and its
 * completion leads here again. */
static void set_operation(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	struct operation *operation = &client->operation;
	bool reads_file = wants & CONN_PAUSE && conn_pause(&client->conn).kind == PAUSE_FILE;
	unsigned interest = wants & CONN_RECV ? POLLIN : 0;
	if (wants != CONN_RECV && !deadline_is_set(&client->deadline))
		interest |= POLLOUT; /* after EAGAIN; or the turns are used up: it completes at once */
	if (operation->state == IN_FLIGHT) {
		if (reads_file || interest & ~(unsigned)operation->iocb.aio_buf)
			kaio_cancel(contexts[operation->place], &operation->iocb);
	} else if (reads_file) {
		read_file(operation, conn_pause(&client->conn), client);
	} else {
		poll_for(operation, client->fd, interest, client);
	}
}

static void poll_for(struct operation *operation, int fd, unsigned interest, struct client *client)
{
	operation->iocb = (struct iocb){
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = interest,
		.aio_data = (uintptr_t)client,
	};
	queue(operation);
}

static void read_file(struct operation *operation, struct pause pause, struct client *client)
{
	operation->iocb = (struct iocb){
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)pause.fd,
		.aio_buf = (uintptr_t)pause.buf,
		.aio_nbytes = pause.len,
		.aio_offset = pause.offset,
		.aio_data = (uintptr_t)client,
	};
	queue(operation);
}

/* One that is queued already was written anew in place. */
static void queue(struct operation *operation)
{
	operation->iocb.aio_flags = IOCB_FLAG_RESFD;
	operation->iocb.aio_resfd = (uint32_t)event_fd;
	if (operation->state == QUEUED)
		return;
	if (batched == BATCH)
		submit();
	operation->state = QUEUED;
	batch[batched++] = operation;
}

static void submit(void)
{
	struct iocb *iocbs[BATCH];
	for (unsigned i = 0; i < batched; i++) {
		iocbs[i] = &batch[i]->iocb;
		batch[i]->state = IN_FLIGHT;
		batch[i]->place = newest;
	}
	if (batched > 0)
		kaio_submit(contexts[newest], iocbs, batched);
	batched = 0;
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

/* A poll in flight keeps the socket open whatever close() says, and would complete into freed memory.
 * shutdown() completes it: then the client is let go. */
static void close_client(struct client *client)
{
	if (client->operation.state == NONE) {
		free_client(client);
		return;
	}
	client->leaving = true;
	deadline_clear(&deadlines, &client->deadline);
	shutdown(client->fd, SHUT_RDWR);
}

static void free_client(struct client *client)
{
	deadline_clear(&deadlines, &client->deadline);
	conn_drop(&client->conn);
	close(client->fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	if (accepting.state == NONE)
		poll_for(&accepting, listen_fd, POLLIN, NULL);
}
