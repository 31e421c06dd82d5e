/* lab/io_uring: the io_uring page as a ladder, each step of which can be taken or left.
 *
 * Without any option it does what io_uring could do when it was young: every operation is asked for once, every
 * client has its own receive buffer, and the kernel interrupts the thread to finish work. The options add what
 * came later, and all that fit together at their best are servers/io_uring.c. docs/models.md shows what each
 * buys.
 *
 * Needs Linux 5.19 and more for some steps; pkg-config: liburing
 * Try: build/lab/io_uring --taskrun defer --accept multishot --receive multishot --buffers ring
 */
#include "net.h"
#include "pause.h"
#include "uring_new.h"

#include <poll.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

enum {
	SUBMISSIONS = 256,
	COMPLETIONS = 2048,
	BUFFERS = 64,
	BUFFER_BYTES = 32768,
	OWN_BYTES = 16384, /* of a client's own receive buffer */
	PARTS = 8,         /* of a reply, with --send bundle: all but the last have PART_BYTES */
	PART_BYTES = 4096,
	FILES_MAX = 1 << 20, /* in a ring's table; the kernel's limit, IORING_MAX_FIXED_FILES */
	CHAIN_LENGTH = 3,
	RETRY_NS = 100000000,
};

enum operation { NOTHING, STOP, ACCEPT, RECEIVE, SEND, TIMEOUT, SHUT, OPERATION_BITS = 7 };

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	int fd;                          /* or the place in the ring's table, with --files direct */
	uint8_t *own;                    /* receive buffer, with --buffers own */
	struct io_uring_buf_ring *parts; /* what is to be sent, with --send bundle */
	size_t offered;                  /* bytes of it */
	bool receiving, cancelling, sending, shutting, leaving;
	bool chained;    /* its greeting is a chain in the kernel: timeout, send, shutdown */
	bool lent;       /* a zero-copy send is done, but the kernel still holds its bytes */
	int send_result; /* of that send */
	struct __kernel_timespec chain_delay;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static int listen_fd;
static bool accepting;
static struct io_uring ring;
static struct uring_buffers buffers;
static unsigned place_of[BUFFERS], at_place[BUFFERS], given; /* the order in which buffers were given */
static size_t used[BUFFERS];                                 /* of each, with --buffers incremental */

static struct knob knobs[] = {
	{"taskrun", "who finishes work: an interrupt, the next system call (5.19), or the wait (6.1)",
		.choices = "interrupt|coop|defer"},
	{"accept", "asked for one by one, or once for all", .choices = "oneshot|multishot"},
	{"receive", "asked for one by one, once for all (6.0), or also several buffers at once (6.10)",
		.choices = "oneshot|multishot|bundle"},
	{"buffers", "a buffer for each client, a ring of them for all (5.19), or one used bit by bit (6.12)",
		.choices = "own|ring|incremental"},
	{"files", "ordinary descriptors, or places in a table of the ring (5.19)",
		.choices = "ordinary|direct"},
	{"send", "copied into the socket, sent from where it is (6.0), or in parts at once (6.10)",
		.choices = "copy|zerocopy|bundle"},
	{"submit", "by system call, or by a thread of the kernel that polls", .choices = "call|poller"},
	{"async", "tried at once, or always handed to a worker thread of the kernel", .choices = "off|on"},
	{"wait-min", "completions a wait tries to return (6.12)", .value = 1, .min = 1, .max = 1024},
	{"min-wait", "how long it tries", .is_time = true, .value = 50000, .min = 1000, .max = 1000000000},
	{"finish", "greet's delay, reply and end by this program, or as one chain in the kernel",
		.choices = "core|chain"},
	{0},
};
enum knob_name {
	TASKRUN,
	ACCEPTS,
	RECEIVES,
	BUFFERING,
	FILES,
	SENDS,
	SUBMITS,
	ASYNC,
	WAIT_MIN,
	MIN_WAIT,
	FINISH
};
enum { INTERRUPT, COOP, DEFER };
enum { ONESHOT, MULTISHOT, BUNDLE };
enum { OWN, RING, INCREMENTAL };
enum { COPY, ZEROCOPY, BUNDLED };

static void check_knobs(const struct options *options);
static void start_ring(void);
static void provide_buffers(void);
static void give(unsigned buffer);
static void submit(struct io_uring_sqe *sqe, enum operation operation, struct client *client);
static void submit_for(struct io_uring_sqe *sqe, enum operation operation, struct client *client);
static void submit_stop(void);
static void submit_accept(void);
static void turn(void);
static void submit_and_wait(void);
static void wait_for_room(bool closed_one);
static void handle_completion(const struct io_uring_cqe *cqe);
static void accepted(const struct io_uring_cqe *cqe);
static void open_client(int fd);
static void received(struct client *client, const struct io_uring_cqe *cqe);
static void take_buffers(struct client *client, const struct io_uring_cqe *cqe);
static void sent(struct client *client, const struct io_uring_cqe *cqe);
static void advance(struct client *client);
static void submit_send(struct client *client);
static void take_ring_of_parts(struct client *client);
static void drop_ring_of_parts(struct client *client);
static void offer_parts(struct client *client, struct span output);
static void submit_chain(struct client *client, uint64_t delay_ns);
static void shut(struct client *client);
static void submit_shut(struct client *client);
static void set_receiving(struct client *client);
static void cancel(struct client *client, enum operation operation);
static void resume_expired(void);
static void close_client(struct client *client);
static void abort_send(struct client *client);
static void close_file(int fd);

static const struct model model = {
	.name = "io_uring",
	.thesis = "The io_uring page with its steps as options: what does each one buy?",
	.needs = "Linux 5.19 with io_uring allowed",
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	check_knobs(&options);
	listen_fd = server_start(&options, 0);
	start_ring();
	if (knobs[BUFFERING].value != OWN)
		provide_buffers();
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
	while (accepting || !LIST_EMPTY(&clients))
		turn();
	io_uring_queue_exit(&ring);
	free(buffers.ring);
	free(buffers.memory);
	close(listen_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void check_knobs(const struct options *options)
{
	bool selects = knobs[BUFFERING].value != OWN;
	if (knobs[RECEIVES].value != ONESHOT && !selects)
		options_refuse(model.name, "--receive multishot and --buffers own do not fit: "
					   "the kernel takes a buffer for each completion; say --buffers ring");
	if (knobs[RECEIVES].value == BUNDLE && knobs[BUFFERING].value == INCREMENTAL)
		options_refuse(model.name, "--receive bundle and --buffers incremental do not fit: "
					   "each is measured without the other");
	if (selects && knobs[ASYNC].value)
		options_refuse(model.name,
			"--buffers ring and --async on do not fit: "
			"on a worker thread, a receive that waits keeps the buffer it has taken");
	if (knobs[SUBMITS].value && knobs[TASKRUN].value != INTERRUPT)
		options_refuse(model.name, "--submit poller and --taskrun coop or defer do not fit: "
					   "the kernel's thread makes no system call that could finish work");
	if (knobs[SUBMITS].value && knobs[WAIT_MIN].given)
		options_refuse(model.name, "--submit poller and --wait-min do not fit: "
					   "a minimal wait belongs to the call that submits");
	if (knobs[SENDS].value == ZEROCOPY && knobs[FILES].value)
		options_refuse(model.name, "--send zerocopy and --files direct do not fit: "
					   "a send whose peer is silent is ended by a socket option");
	if (knobs[SENDS].value == ZEROCOPY && options->unix_path)
		options_refuse(model.name, "--send zerocopy and --listen do not fit: Unix sockets have none");
	if (knobs[MIN_WAIT].given && !knobs[WAIT_MIN].given)
		options_refuse(model.name, "--min-wait needs --wait-min: how many completions it waits for");
	if (knobs[FINISH].value && core.protocol != PROTOCOL_GREET)
		options_refuse(model.name, "--finish chain needs --protocol greet: "
					   "only there a reply is the last one");
	if (knobs[FINISH].value && core.delay_ns == 0)
		options_refuse(model.name, "--finish chain needs --delay: the chain begins with it");
	if (knobs[FINISH].value && core.delay_blocks)
		options_refuse(model.name, "--finish chain and --delay-blocks do not fit: "
					   "in a chain the delay is the kernel's");
	if (knobs[FINISH].value && knobs[SENDS].value != COPY)
		options_refuse(model.name, "--finish chain and --send zerocopy or bundle do not fit: "
					   "the chain's send is one that copies");
}

static bool has_operation(int operation)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
	bool has = probe && io_uring_opcode_supported(probe, operation);
	io_uring_free_probe(probe);
	return has;
}

static void start_ring(void)
{
	static const unsigned taskrun[] = {
		0, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	static const char *const since[] = {"5.19", "5.19", "6.1"};
	unsigned flags = taskrun[knobs[TASKRUN].value] | (knobs[SUBMITS].value ? IORING_SETUP_SQPOLL : 0);
	uring_start(&ring, SUBMISSIONS, COMPLETIONS, flags, since[knobs[TASKRUN].value]);
	if (knobs[WAIT_MIN].given && !(ring.features & URING_HAS_MIN_WAIT))
		cannot_run("--wait-min: this kernel has no minimal wait; it needs Linux 6.12");
	if (knobs[RECEIVES].value == MULTISHOT && !has_operation(IORING_OP_SEND_ZC)) /* they came together */
		cannot_run("--receive multishot: this kernel has no such receive; it needs Linux 6.0");
	if (knobs[RECEIVES].value == BUNDLE && !(ring.features & URING_HAS_BUNDLES))
		cannot_run("--receive bundle: this kernel has no bundles; it needs Linux 6.10");
	if (knobs[SENDS].value == BUNDLED && !(ring.features & URING_HAS_BUNDLES))
		cannot_run("--send bundle: this kernel has no bundles; it needs Linux 6.10");
	if (knobs[SENDS].value == ZEROCOPY && !has_operation(IORING_OP_SEND_ZC))
		cannot_run("--send zerocopy: this kernel has no such send; it needs Linux 6.0");
	if (!knobs[FILES].value)
		return;
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	unsigned files = limit.rlim_cur < FILES_MAX ? (unsigned)limit.rlim_cur : FILES_MAX;
	int error = -io_uring_register_files_sparse(&ring, files);
	if (error)
		cannot_run("--files direct: io_uring_register_files_sparse: %s; it needs Linux 5.19",
			strerror(error));
}

/* uring_provide(), but for the kind of ring and the order kept. */
static void provide_buffers(void)
{
	bool incremental = knobs[BUFFERING].value == INCREMENTAL;
	buffers = (struct uring_buffers){.count = BUFFERS, .bytes = BUFFER_BYTES};
	buffers.ring = aligned_alloc(4096, 4096);
	buffers.memory = aligned_alloc(4096, (size_t)BUFFERS * BUFFER_BYTES);
	if (!buffers.ring || !buffers.memory)
		die("no memory for %u buffers of %u bytes", BUFFERS, BUFFER_BYTES);
	io_uring_buf_ring_init(buffers.ring);
	struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffers.ring, .ring_entries = BUFFERS};
	uring_set_buffer_flags(&registration, incremental ? URING_BUFFERS_INCREMENTAL : 0);
	int error = -io_uring_register_buf_ring(&ring, &registration, 0);
	if (error)
		cannot_run("--buffers: io_uring_register_buf_ring: %s; it needs Linux %s", strerror(error),
			incremental ? "6.12" : "5.19");
	for (unsigned buffer = 0; buffer < BUFFERS; buffer++)
		give(buffer);
}

static void give(unsigned buffer)
{
	place_of[buffer] = given % BUFFERS;
	at_place[given++ % BUFFERS] = buffer;
	used[buffer] = 0;
	uring_give(&buffers, buffer);
}

static void submit(struct io_uring_sqe *sqe, enum operation operation, struct client *client)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)client | operation);
}

/* The same for an operation on the client's socket. */
static void submit_for(struct io_uring_sqe *sqe, enum operation operation, struct client *client)
{
	if (knobs[FILES].value)
		sqe->flags |= IOSQE_FIXED_FILE;
	if (knobs[ASYNC].value)
		sqe->flags |= IOSQE_ASYNC;
	submit(sqe, operation, client);
}

static void submit_stop(void)
{
	sigset_t stops;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	int fd = signalfd(-1, &stops, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd: %s", strerror(errno));
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	submit(sqe, STOP, NULL);
}

static void submit_accept(void)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	if (knobs[ACCEPTS].value == MULTISHOT)
		io_uring_prep_multishot_accept(
			sqe, listen_fd, NULL, NULL, knobs[FILES].value ? 0 : SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, listen_fd, NULL, NULL, knobs[FILES].value ? 0 : SOCK_CLOEXEC);
	if (knobs[FILES].value)
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
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

/* Without any timeout, a minimal wait would be the whole wait, and an idle server would never sleep. */
static void submit_and_wait(void)
{
	struct timespec wait;
	struct __kernel_timespec until = {.tv_sec = 3600}, *timeout = NULL;
	if (pause_timeout(&deadlines, &wait)) {
		until = (struct __kernel_timespec){wait.tv_sec, wait.tv_nsec};
		timeout = &until;
	}
	struct io_uring_cqe *cqe;
	int error = knobs[WAIT_MIN].given ? uring_wait_for(&ring, (unsigned)knobs[WAIT_MIN].value,
						    (unsigned)(knobs[MIN_WAIT].value / 1000), &until)
					  : -io_uring_submit_and_wait_timeout(&ring, &cqe, 1, timeout, NULL);
	if (error > 0 && error != ETIME && error != EINTR && error != EAGAIN && error != EBUSY)
		die("io_uring_enter: %s", strerror(error));
}

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
	switch ((enum operation)(cqe->user_data & OPERATION_BITS)) {
	case STOP:
		server_stopping = 1;
		break;
	case ACCEPT:
		accepted(cqe);
		break;
	case RECEIVE:
		received(client, cqe);
		break;
	case SEND:
		sent(client, cqe);
		break;
	case SHUT: /* if it failed, the connection is lost, and a receive says so */
		client->shutting = false;
		if (client->leaving)
			close_client(client);
		break;
	default:
		break; /* a cancellation, a close, a chain's timeout: what follows says the rest */
	}
}

static void accepted(const struct io_uring_cqe *cqe)
{
	accepting = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res >= 0) {
		if (server_stopping)
			close_file(cqe->res);
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
	if (knobs[BUFFERING].value == OWN && !(client->own = malloc(OWN_BYTES)))
		die("no memory for another client's buffer");
	client->fd = fd;
	if (knobs[SENDS].value == BUNDLED)
		take_ring_of_parts(client);
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	set_receiving(client);
}

static void received(struct client *client, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		client->receiving = client->cancelling = false;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		take_buffers(client, cqe);
	else if (cqe->res > 0 && !client->leaving)
		conn_feed(&client->conn, client->own, (size_t)cqe->res);
	if (client->leaving) {
		close_client(client);
		return;
	}
	if (cqe->res < 0 && cqe->res != -ENOBUFS && cqe->res != -ECANCELED) {
		errno = -cqe->res;
		count_error(&counters);
		close_client(client);
		return;
	}
	if (cqe->res == 0)
		conn_eof(&client->conn);
	if (cqe->res == -ENOBUFS)
		counters.eagain++;
	advance(client);
}

/* A bundle fills whole buffers in the order they were given, an incremental buffer is the kernel's until it is
 * full. */
static void take_buffers(struct client *client, const struct io_uring_cqe *cqe)
{
	unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	size_t left = cqe->res > 0 ? (size_t)cqe->res : 0;
	do {
		size_t n = left < BUFFER_BYTES ? left : BUFFER_BYTES;
		unsigned next = at_place[(place_of[buffer] + 1) % BUFFERS];
		if (n > 0 && !client->leaving)
			conn_feed(&client->conn, uring_buffer(&buffers, buffer) + used[buffer], n);
		used[buffer] += n;
		left -= n;
		if (!(cqe->flags & URING_BUFFER_MORE))
			give(buffer);
		buffer = next;
	} while (left > 0);
}

/* Zero-copy: the first completion says how much was sent, the second that the bytes are ours again. */
static void sent(struct client *client, const struct io_uring_cqe *cqe)
{
	int result = cqe->flags & IORING_CQE_F_NOTIF ? client->send_result : cqe->res;
	if (cqe->flags & IORING_CQE_F_MORE && client->parts) { /* a bundle goes on with what is left of it */
		conn_sent(&client->conn, (size_t)result);
		client->offered -= (size_t)result;
		return;
	}
	if (cqe->flags & IORING_CQE_F_MORE) {
		client->send_result = result;
		client->lent = true;
		if (client->leaving)
			abort_send(client);
		return;
	}
	client->lent = false;
	client->sending = false;
	if (client->leaving) {
		close_client(client);
		return;
	}
	if (result < 0) {
		errno = -result;
		count_error(&counters);
		close_client(client);
		return;
	}
	if (client->parts &&
		(size_t)result < client->offered) { /* parts that were not sent would lie in its way */
		drop_ring_of_parts(client);
		take_ring_of_parts(client);
	}
	conn_sent(&client->conn, (size_t)result);
	advance(client);
}

static void advance(struct client *client)
{
	for (;;) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			if (!client->sending)
				submit_send(client);
			break;
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_DELAY && knobs[FINISH].value) {
				conn_did(&client->conn, CONN_PAUSE);
				submit_chain(client, pause.amount);
				break;
			}
			if (pause.kind == PAUSE_DELAY) {
				if (!deadline_is_set(&client->deadline))
					pause_begin(&deadlines, &client->deadline, pause);
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			if (!client->chained)
				shut(client);
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

static void submit_send(struct client *client)
{
	struct span output = conn_output(&client->conn);
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	if (client->parts) {
		offer_parts(client, output);
		io_uring_prep_send(sqe, client->fd, NULL, 0, MSG_NOSIGNAL | MSG_WAITALL);
		sqe->ioprio |= IORING_RECVSEND_BUNDLE;
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = (uint16_t)(client->fd + 1);
	} else if (knobs[SENDS].value == ZEROCOPY) {
		io_uring_prep_send_zc(sqe, client->fd, output.data, output.len, MSG_NOSIGNAL | MSG_WAITALL, 0);
	} else {
		io_uring_prep_send(sqe, client->fd, output.data, output.len, MSG_NOSIGNAL | MSG_WAITALL);
	}
	submit_for(sqe, SEND, client);
	client->sending = true;
}

/* A bundle takes all that lies in its ring, so each client has one of its own; ring 0 is that of the receives.
 * The kernel numbers rings with 16 bits: clients beyond that are sent copies. */
static void take_ring_of_parts(struct client *client)
{
	client->offered = 0;
	if (client->fd >= UINT16_MAX)
		return;
	if (!client->parts && !(client->parts = aligned_alloc(4096, 4096)))
		die("no memory for another client's ring of parts");
	io_uring_buf_ring_init(client->parts);
	struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)client->parts,
		.ring_entries = PARTS,
		.bgid = (uint16_t)(client->fd + 1)};
	int error = -io_uring_register_buf_ring(&ring, &registration, 0);
	if (error)
		die("io_uring_register_buf_ring: %s", strerror(error));
}

static void drop_ring_of_parts(struct client *client)
{
	if (client->parts)
		io_uring_unregister_buf_ring(&ring, client->fd + 1);
}

/* The reply lies in one piece; it is offered in several, as it would lie where it was received in several. */
static void offer_parts(struct client *client, struct span output)
{
	const uint8_t *at = output.data;
	int parts = 0;
	client->offered = output.len;
	for (size_t left = output.len; left > 0; parts++) {
		size_t n = left > PART_BYTES && parts < PARTS - 1 ? PART_BYTES : left;
		io_uring_buf_ring_add(client->parts, (void *)(uintptr_t)at, (unsigned)n, (uint16_t)parts,
			io_uring_buf_ring_mask(PARTS), parts);
		at += n;
		left -= n;
	}
	io_uring_buf_ring_advance(client->parts, parts);
}

/* One submission for all that is left of a greeting: the kernel waits, sends, and ends the stream, without
 * coming back in between. A close in the chain would throw away what the peer has still to read. */
static void submit_chain(struct client *client, uint64_t delay_ns)
{
	client->chain_delay = (struct __kernel_timespec){
		.tv_sec = (int64_t)(delay_ns / 1000000000), .tv_nsec = (long long)(delay_ns % 1000000000)};
	client->chained = true;
	/* A chain must be handed in whole; what is before it, a poller takes when it comes to it. */
	while (io_uring_sq_space_left(&ring) < CHAIN_LENGTH) {
		int n = io_uring_submit(&ring);
		if (n < 0)
			die("io_uring_enter: %s", strerror(-n));
	}
	struct io_uring_sqe *timeout = uring_sqe(&ring);
	io_uring_prep_timeout(timeout, &client->chain_delay, 0, IORING_TIMEOUT_ETIME_SUCCESS);
	submit(timeout, TIMEOUT, client);
	timeout->flags |= IOSQE_IO_LINK;
	struct io_uring_sqe *send = uring_sqe(&ring);
	struct span output = conn_output(&client->conn);
	io_uring_prep_send(send, client->fd, output.data, output.len, MSG_NOSIGNAL | MSG_WAITALL);
	submit_for(send, SEND, client);
	send->flags |= IOSQE_IO_LINK;
	submit_shut(client);
	client->sending = true;
}

static void shut(struct client *client)
{
	if (knobs[FILES].value)
		submit_shut(client);
	else
		shutdown(client->fd, SHUT_WR);
}

/* A worker thread of the kernel carries it out, and only then looks at which socket the number stands for:
 * until it has completed, the number must stay this client's. */
static void submit_shut(struct client *client)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_shutdown(sqe, client->fd, SHUT_WR);
	submit_for(sqe, SHUT, client);
	client->shutting = true;
}

static void set_receiving(struct client *client)
{
	unsigned wants = conn_wants(&client->conn);
	if (wants & CONN_RECV && !client->receiving) {
		struct io_uring_sqe *sqe = uring_sqe(&ring);
		size_t room = conn_room(&client->conn);
		if (knobs[BUFFERING].value == OWN) {
			io_uring_prep_recv(
				sqe, client->fd, client->own, room < OWN_BYTES ? room : OWN_BYTES, 0);
		} else {
			if (knobs[RECEIVES].value == ONESHOT || wants & CONN_SEND)
				io_uring_prep_recv(sqe, client->fd, NULL, room, 0);
			else
				io_uring_prep_recv_multishot(sqe, client->fd, NULL, 0, 0);
			if (knobs[RECEIVES].value == BUNDLE)
				sqe->ioprio |= IORING_RECVSEND_BUNDLE;
			sqe->flags |= IOSQE_BUFFER_SELECT;
		}
		submit_for(sqe, RECEIVE, client);
		client->receiving = true;
	} else if (!(wants & CONN_RECV) && client->receiving && !client->cancelling) {
		cancel(client, RECEIVE);
		client->cancelling = true;
	}
}

static void cancel(struct client *client, enum operation operation)
{
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_cancel64(sqe, (uintptr_t)client | operation, 0);
	submit(sqe, NOTHING, NULL);
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

static void close_client(struct client *client)
{
	if (!client->leaving) {
		client->leaving = true;
		deadline_clear(&deadlines, &client->deadline);
		if (client->receiving)
			cancel(client, RECEIVE);
		if (client->sending && client->chained)
			cancel(client, TIMEOUT); /* which ends the whole chain, if it has not begun to send */
		if (client->sending)
			cancel(client, SEND);
		if (client->lent)
			abort_send(client);
	}
	if (client->receiving || client->sending || client->shutting)
		return;
	conn_drop(&client->conn);
	drop_ring_of_parts(client);
	close_file(client->fd);
	LIST_REMOVE(client, all);
	free(client->own);
	free(client->parts);
	free(client);
	count_close(&counters);
}

/* The peer may never take what was sent without copying, and as long the memory is lent: a reset takes it back.
 */
static void abort_send(struct client *client)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	shutdown(client->fd, SHUT_RDWR);
	close(client->fd);
	client->fd = -1;
}

static void close_file(int fd)
{
	if (fd < 0)
		return;
	if (!knobs[FILES].value) {
		close(fd);
		return;
	}
	struct io_uring_sqe *sqe = uring_sqe(&ring);
	io_uring_prep_close_direct(sqe, (unsigned)fd);
	submit(sqe, NOTHING, NULL);
}
