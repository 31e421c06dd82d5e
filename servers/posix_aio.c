/* posix_aio: one thread of ours, POSIX asynchronous I/O, completions by signal; glibc's threads do the waiting.
 *
 * An operation is handed over and returns at once; a signal says later which one has completed, a real-time
 * one, for those queue up and carry a value. Linux has no such thing: glibc hands each operation to a thread
 * that blocks in it. So an idle connection, which is a read that waits, costs a thread and its stacks. glibc
 * makes 20 at most, unless aio_init() says otherwise: then 20 idle clients leave nobody else served. Here it
 * may make one for each descriptor, and as it runs one operation of a descriptor at a time, none waits for a
 * thread.
 *
 * For that same reason a client is written to through a second descriptor, from dup(): on the first one a reply
 * would stand behind the read that waits during its delay. Nothing but shutdown() ends such a read, and until
 * it has ended it holds the client's memory. POSIX AIO has no accept: the listener raises SIGIO. And a signal
 * that finds the queue full (RLIMIT_SIGPENDING) is lost, so now and then all that is in flight is looked at.
 *
 * Per request, one connection at a time: sigtimedwait... (twice, and now and then for a look at all that is in
 * flight; all else is glibc's), pread (fails: a socket has no offset), read, pwrite (fails, too), write,
 * rt_sigqueueinfo twice, getpid twice, getuid twice, futex... (threads wake each other).
 * Per idle connection: a thread of glibc's with its stacks, and a buffer.
 * Needs Linux with glibc; other systems' POSIX AIO may be the kernel's own, or refuse sockets.
 * Try: build/servers/posix_aio --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "clock.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <aio.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECEIVE_BYTES = 16384, /* a buffer for each client: its read waits in there */
	ACCEPTS_PER_WAKEUP = 64,
	SWEEP_MAX_NS = 256000000, /* so long may a lost signal keep a client waiting */
	SWEEP_MIN_NS = 1000000,   /* while they are being lost */
	RETRY_NS = 100000000,
};
#define COMPLETED SIGRTMIN

enum kind { RECEIVE, SEND, LOAD, KINDS }; /* LOAD: a block of the file */

struct operation {
	struct aiocb aiocb;
	uint32_t number;
	bool in_flight; /* its memory is glibc's */
};

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	struct operation operations[KINDS];
	int fd, send_fd;
	bool leaving; /* to be closed when nothing is in flight */
	uint8_t received[];
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static struct client **client_of; /* by fd */
static uint32_t last_number;
static int listen_fd, accepted_fd = -1;
static bool crowd = true; /* somebody may be waiting for an accept, and no signal will say so again */
static bool full;         /* but there is no room before a client of ours closes */
static sigset_t awaited;
static uint64_t swept_ns, sweep_after_ns = SWEEP_MAX_NS;

static void start_signals(void);
static void start_threads(void);
static void turn(void);
static bool take_signal(void);
static void handle_signal(uint64_t value);
static bool sweep(void);
static void accept_clients(void);
static int accept_client(void);
static void wait_for_room(void);
static void open_client(int fd, int send_fd);
static void complete(struct client *client, enum kind kind);
static void advance(struct client *client);
static void load(struct client *client, struct pause pause);
static void start(struct client *client, enum kind kind, int fd, void *data, size_t size, off_t offset);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "posix_aio",
	.thesis = "One thread waits for signals of POSIX AIO's completions; each idle read blocks a helper "
		  "thread.",
	.needs = "Linux with glibc",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, 0);
	start_signals();
	start_threads();
	server_ready(listen_fd, &options);

	while (!server_stopping)
		turn();

	for (struct client *client = LIST_FIRST(&clients), *next; client; client = next) {
		next = LIST_NEXT(client, all);
		close_client(client);
	}
	while (!LIST_EMPTY(&clients))
		turn();
	if (accepted_fd >= 0)
		close(accepted_fd);
	close(listen_fd);
	free(client_of);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

/* Blocked in every thread, signals wait until they are asked for: no handler interrupts anything. */
static void start_signals(void)
{
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, SIGIO);
	sigaddset(&awaited, COMPLETED);
	if (sigprocmask(SIG_BLOCK, &awaited, NULL) != 0 || fcntl(listen_fd, F_SETOWN, getpid()) != 0 ||
		fcntl(listen_fd, F_SETFL, O_NONBLOCK | O_ASYNC) != 0)
		die("signals of the listener: %s", strerror(errno));
}

static void start_threads(void)
{
	long descriptors = sysconf(_SC_OPEN_MAX); /* as raised by server_start() */
	struct aioinit most = {.aio_threads = (int)descriptors};
	aio_init(&most);
	client_of = calloc((size_t)descriptors, sizeof *client_of);
	if (!client_of)
		die("no memory for a table of %ld descriptors", descriptors);
}

/* The sweep comes before anything new is started: what it finds when no signal was there has lost its own. */
static void turn(void)
{
	bool told = take_signal();
	if (clock_now_ns() - swept_ns > sweep_after_ns) {
		bool found = sweep();
		if (found && !told)
			sweep_after_ns = SWEEP_MIN_NS;
		else if (sweep_after_ns < SWEEP_MAX_NS)
			sweep_after_ns *= 2;
	}
	if (crowd && !server_stopping)
		accept_clients();
	resume_expired();
}

/* One call takes one signal, and sleeps if there is none. SIGIO comes once, however many clients have. False:
 * there was none. */
static bool take_signal(void)
{
	struct timespec until_sweep = clock_timespec(crowd ? 0 : sweep_after_ns), until_deadline;
	const struct timespec *timeout = pause_timeout(&deadlines, &until_deadline);
	if (!timeout || timeout->tv_sec > 0 || timeout->tv_nsec > until_sweep.tv_nsec)
		timeout = &until_sweep;
	if (LIST_EMPTY(&clients) && !crowd)
		timeout = NULL; /* nothing is in flight */
	siginfo_t info;
	int number = sigtimedwait(&awaited, &info, timeout);
	counters.wakeups++;
	if (number < 0 && errno != EAGAIN && errno != EINTR)
		die("sigtimedwait: %s", strerror(errno));
	if (number == SIGTERM || number == SIGINT)
		server_stopping = 1;
	else if (number == SIGIO)
		crowd = !full;
	else if (number == COMPLETED)
		handle_signal((uintptr_t)info.si_value.sival_ptr);
	return number > 0;
}

/* A signal names its operation by number, descriptor and kind. One that a sweep was faster than must not be
 * taken for that of the next operation, or of the next client with this descriptor. */
static uint64_t value_of(const struct client *client, enum kind kind)
{
	static_assert(sizeof(void *) == sizeof(uint64_t), "a signal's value is a pointer");
	return (uint64_t)client->operations[kind].number << 32 | (uint64_t)client->fd << 2 | kind;
}

static void handle_signal(uint64_t value)
{
	enum kind kind = value & 3;
	struct client *client = client_of[(value & UINT32_MAX) >> 2];
	if (client && client->operations[kind].in_flight && value_of(client, kind) == value)
		complete(client, kind);
}

/* Finds what has completed and was not told, one operation of a client at a time: it may be gone then. */
static bool sweep(void)
{
	bool found = false;
	for (struct client *client = LIST_FIRST(&clients), *next; client; client = next) {
		next = LIST_NEXT(client, all);
		for (enum kind kind = 0; kind < KINDS; kind++) {
			struct operation *operation = &client->operations[kind];
			if (operation->in_flight && aio_error(&operation->aiocb) != EINPROGRESS) {
				complete(client, kind);
				found = true;
				break;
			}
		}
	}
	swept_ns = clock_now_ns();
	return found;
}

static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int failure = accept_client();
		if (failure == NET_AGAIN) {
			crowd = false;
			return;
		}
		if (failure == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (failure == NET_FULL) {
			count_error(&counters);
			wait_for_room();
			return;
		}
	}
}

/* A client needs two descriptors. One that got only the first is kept until there is room for the other. */
static int accept_client(void)
{
	if (accepted_fd < 0)
		accepted_fd = net_accept(listen_fd, SOCK_CLOEXEC);
	if (accepted_fd < 0)
		return accepted_fd;
	int send_fd = fcntl(accepted_fd, F_DUPFD_CLOEXEC, 0);
	if (send_fd < 0)
		return net_accept_failure(errno);
	open_client(accepted_fd, send_fd);
	accepted_fd = -1;
	return 0;
}

/* A client of ours that closes makes room. Without any, others hold what is missing, and a short sleep keeps
 * nobody waiting. */
static void wait_for_room(void)
{
	full = counters.open > 0;
	crowd = !full;
	if (crowd)
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
}

static void open_client(int fd, int send_fd)
{
	struct client *client = malloc(sizeof *client + RECEIVE_BYTES);
	if (!client)
		die("no memory for another client");
	memset(client, 0, sizeof *client); /* and not the buffer: what is not used is no memory either */
	client->fd = fd;
	client->send_fd = send_fd;
	client_of[fd] = client;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	advance(client);
}

static void complete(struct client *client, enum kind kind)
{
	struct operation *operation = &client->operations[kind];
	int error = aio_error(&operation->aiocb);
	ssize_t n = aio_return(&operation->aiocb);
	operation->in_flight = false;
	counters.events++;
	if (kind == LOAD && operation->aiocb.aio_fildes != core.file_fd)
		close(operation->aiocb.aio_fildes);
	if (client->leaving) {
		close_client(client);
		return;
	}
	if (n < 0 && kind != LOAD) {
		errno = error;
		count_error(&counters);
		close_client(client);
		return;
	}
	if (kind == LOAD)
		conn_read(&client->conn, n);
	else if (kind == SEND)
		conn_sent(&client->conn, (size_t)n);
	else if (n > 0)
		conn_feed(&client->conn, client->received, (size_t)n);
	else
		conn_eof(&client->conn);
	advance(client);
}

/* Does what the connection wants until it has to wait, for an operation or for time. Work is all that could
 * keep it from ending, and each request's is bounded. A client that is being sent to is not received from: two
 * operations at a time would want two threads, and glibc's come and go. */
static void advance(struct client *client)
{
	for (;;) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			struct span output = conn_output(&client->conn);
			start(client, SEND, client->send_fd, (void *)output.data, output.len, 0);
			return;
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_FILE) {
				load(client, pause);
				return;
			}
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
	size_t room = conn_room(&client->conn);
	if (conn_wants(&client->conn) & CONN_RECV)
		start(client, RECEIVE, client->fd, client->received,
			room < RECEIVE_BYTES ? room : RECEIVE_BYTES, 0);
}

/* Each read of the file has a descriptor of its own, or all of them would stand in one line. */
static void load(struct client *client, struct pause pause)
{
	if (client->operations[LOAD].in_flight)
		return;
	int fd = fcntl(pause.fd, F_DUPFD_CLOEXEC, 0);
	start(client, LOAD, fd < 0 ? pause.fd : fd, pause.buf, pause.len, pause.offset);
}

/* aio_read() or aio_write(), as a list of one: where the signal of an operation cannot be queued, glibc puts
 * that error in the place of its result, and what was read is lost. The list's own signal may fail without
 * harm. */
static void start(struct client *client, enum kind kind, int fd, void *data, size_t size, off_t offset)
{
	struct operation *operation = &client->operations[kind];
	if (operation->in_flight)
		return;
	operation->number = ++last_number;
	operation->in_flight = true;
	operation->aiocb = (struct aiocb){
		.aio_fildes = fd,
		.aio_lio_opcode = kind == SEND ? LIO_WRITE : LIO_READ,
		.aio_buf = data,
		.aio_nbytes = size,
		.aio_offset = offset,
		.aio_sigevent.sigev_notify = SIGEV_NONE,
	};
	struct aiocb *list[] = {&operation->aiocb};
	struct sigevent end = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = COMPLETED};
	end.sigev_value.sival_ptr = (void *)value_of(client, kind);
	if (lio_listio(LIO_NOWAIT, list, 1, &end) != 0)
		die("no memory or no thread for another operation: %s", strerror(errno));
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

/* Called again when one of its operations completes: while any is in flight, a thread reads into this memory or
 * writes from it. shutdown() ends them. */
static void close_client(struct client *client)
{
	client->leaving = true;
	deadline_clear(&deadlines, &client->deadline);
	struct operation *operations = client->operations;
	if (operations[RECEIVE].in_flight || operations[SEND].in_flight || operations[LOAD].in_flight) {
		shutdown(client->fd, SHUT_RDWR);
		return;
	}
	client_of[client->fd] = NULL;
	conn_drop(&client->conn);
	close(client->send_fd);
	close(client->fd);
	LIST_REMOVE(client, all);
	free(client);
	count_close(&counters);
	crowd |= full; /* there is room for somebody now */
	full = false;
}
