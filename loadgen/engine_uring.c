/* The io_uring engine: one system call submits what is to be sent and brings what has arrived. Each socket has
 * one multishot receive for its whole life, fed from a ring of buffers that go back as soon as they are read,
 * and at most one send in flight. A slow reader has single receives of its part instead. All receives of a
 * batch were done inside that call, so one reading of the clock behind it is true for all of them.
 *
 * A socket that io_uring still works on stays open after close(); shutdown() comes first, which sends the FIN
 * and ends the receive. What is still reported of an earlier life of a slot is known by the life in its
 * user_data. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"

enum {
	SQ_ENTRIES = 1024,
	MIN_CQ_ENTRIES = 4096,
	MAX_CQ_ENTRIES = 65536,
	BUFFERS = 512, /* enough for the replies of one batch; when they run out, the receive is armed again */
	SMALL_BUFFER = 4096,
	LARGE_BUFFER = 32768, /* where replies are longer than a small one */
	BUFFER_GROUP = 0,
};

enum op { OP_CONNECT, OP_RECEIVE, OP_SEND };

struct uring_engine {
	struct io_uring ring;
	bool ring_made;
	struct io_uring_buf_ring *buffers;
	uint8_t *pool;
	size_t buffer_size;
	uint8_t *outboxes; /* outbox_size for each active connection: the kernel may read them until a send
			      completes */
	size_t outbox_size;
	bool *sending; /* by connection: a send is in flight whose completion is awaited */
};

static uint64_t key_of(const struct worker *w, const struct conn *c, enum op op)
{
	return (uint64_t)c->life << 32 | (uint64_t)(c - w->conns) << 4 | op;
}

static struct io_uring_sqe *next_sqe(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

	while (!sqe) {
		io_uring_submit(&e->ring);
		sqe = io_uring_get_sqe(&e->ring);
	}
	return sqe;
}

/* --- setting up --- */

static int make_ring(struct uring_engine *e, uint32_t conn_count)
{
	/* Best first: completions are worked off in this thread's own waits (since 6.1); without interrupts
	 * (5.19); plainly. */
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0};
	unsigned entries = MIN_CQ_ENTRIES;
	int failed = -EINVAL;

	while (entries < 2 * conn_count && entries < MAX_CQ_ENTRIES)
		entries *= 2;
	for (size_t i = 0; failed == -EINVAL && i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct io_uring_params p = {.flags = flags[i] | IORING_SETUP_CQSIZE, .cq_entries = entries};
		failed = io_uring_queue_init_params(SQ_ENTRIES, &e->ring, &p);
	}
	e->ring_made = failed == 0;
	if (e->ring_made)
		io_uring_register_ring_fd(&e->ring); /* spares a look-up per call; works without it as well */
	return failed;
}

static int make_buffers(struct uring_engine *e)
{
	size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg registration = {.ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);

	e->pool = malloc(BUFFERS * e->buffer_size);
	if (memory == MAP_FAILED || !e->pool)
		return -ENOMEM;
	e->buffers = memory;
	registration.ring_addr = (uint64_t)(uintptr_t)memory;
	int failed = io_uring_register_buf_ring(&e->ring, &registration, 0);
	if (failed)
		return failed;
	io_uring_buf_ring_init(e->buffers);
	for (int i = 0; i < BUFFERS; i++)
		io_uring_buf_ring_add(e->buffers, e->pool + (size_t)i * e->buffer_size,
			(unsigned)e->buffer_size, (unsigned short)i, io_uring_buf_ring_mask(BUFFERS), i);
	io_uring_buf_ring_advance(e->buffers, BUFFERS);
	return 0;
}

static bool make_outboxes(struct uring_engine *e, const struct worker *w)
{
	size_t all = proto_longest(&w->proto) * (size_t)w->options->depth;

	e->sending = calloc(w->conn_count, sizeof(*e->sending));
	if (w->proto.constant)
		return e->sending != NULL;
	e->outbox_size = all < SCRATCH_BYTES ? all : SCRATCH_BYTES;
	e->outboxes = malloc(w->active_count * e->outbox_size);
	return e->sending && e->outboxes;
}

static int ur_init(struct worker *w)
{
	struct uring_engine *e = calloc(1, sizeof(*e));

	w->engine_state = e;
	w->failed = "io_uring (not enough memory)";
	w->failed_errno = ENOMEM;
	if (!e || !make_outboxes(e, w))
		return -ENOMEM;
	int failed = make_ring(e, w->conn_count);
	w->failed = "io_uring_queue_init (see kernel.io_uring_disabled; --engine epoll needs no io_uring)";
	w->failed_errno = -failed;
	if (failed)
		return failed;
	e->buffer_size = w->proto.reply_hint > SMALL_BUFFER ? LARGE_BUFFER : SMALL_BUFFER;
	if (w->options->read_part > e->buffer_size)
		e->buffer_size = (size_t)w->options->read_part;
	failed = make_buffers(e);
	w->failed = failed ? "io_uring_register_buf_ring (needs Linux 6.0; --engine epoll does not)" : NULL;
	w->failed_errno = -failed;
	return failed;
}

static void ur_fini(struct worker *w)
{
	struct uring_engine *e = w->engine_state;

	if (!e)
		return;
	if (e->ring_made)
		io_uring_queue_exit(&e->ring);
	if (e->buffers)
		munmap(e->buffers, BUFFERS * sizeof(struct io_uring_buf));
	free(e->pool);
	free(e->outboxes);
	free(e->sending);
	free(e);
}

/* --- connections --- */

static int ur_open(struct worker *w, struct conn *c)
{
	struct uring_engine *e = w->engine_state;
	int fd = net_connect(w->run->target, c->id + c->life);

	if (fd < 0)
		return fd;
	/* On a non-blocking socket io_uring reports EAGAIN instead of waiting. */
	if (fcntl(fd, F_SETFL, 0) < 0) {
		close(fd);
		return -errno;
	}
	c->fd = fd;
	e->sending[c - w->conns] = false;
	struct io_uring_sqe *sqe = next_sqe(e);
	io_uring_prep_poll_add(sqe, fd, POLLOUT);
	io_uring_sqe_set_data64(sqe, key_of(w, c, OP_CONNECT));
	return 0;
}

static void ur_close(struct worker *w, struct conn *c)
{
	(void)w;
	shutdown(c->fd, SHUT_RDWR);
	close(c->fd);
}

static void arm_receive(struct worker *w, struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe(w->engine_state);

	if (w->options->read_part)
		io_uring_prep_recv(sqe, c->fd, NULL, (size_t)w->options->read_part, 0);
	else
		io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data64(sqe, key_of(w, c, OP_RECEIVE));
}

/* --- sending --- */

static int ur_send(struct worker *w, struct conn *c, uint64_t now)
{
	struct uring_engine *e = w->engine_state;
	size_t index = (size_t)(c - w->conns);
	const uint8_t *data;

	if (e->sending[index])
		return 0;
	uint8_t *outbox = e->outboxes ? e->outboxes + index * e->outbox_size : NULL;
	size_t length = flow_output(w, c, now, outbox, e->outbox_size, &data);
	if (length == 0)
		return 0;
	size_t whole = c->requests[c->sending & w->ring_mask].length;
	struct io_uring_sqe *sqe = next_sqe(e);
	io_uring_prep_send(sqe, c->fd, data, length, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, key_of(w, c, OP_SEND));
	w->tally.sends++;
	if (w->options->depth == 1 && c->send_off == 0 && length == whole) {
		/* The whole request, and none follows before its reply, which is proof enough that it was sent:
		 * only a failure needs to be reported. With MSG_WAITALL a short send is one. */
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		flow_sent(w, c, length);
	} else {
		e->sending[index] = true;
	}
	return 0;
}

static void sent(struct worker *w, struct conn *c, int result, uint64_t now)
{
	struct uring_engine *e = w->engine_state;

	if (result < 0) {
		flow_failed(w, c, -result, now);
		return;
	}
	if (!e->sending[c - w->conns]) {
		flow_failed(w, c, EPIPE, now); /* a short send that was counted as whole */
		return;
	}
	e->sending[c - w->conns] = false;
	flow_sent(w, c, (size_t)result);
	ur_send(w, c, clock_now());
}

/* --- receiving --- */

static void received(struct worker *w, struct conn *c, const struct io_uring_cqe *cqe, uint64_t now)
{
	struct uring_engine *e = w->engine_state;
	uint32_t life = c->life;

	if (cqe->res > 0) {
		unsigned short id = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		w->tally.receives++;
		flow_received(w, c, e->pool + id * e->buffer_size, (size_t)cqe->res, now);
	} else if (cqe->res == 0) {
		flow_eof(w, c, now);
	} else if (cqe->res != -ENOBUFS) {
		flow_failed(w, c, -cqe->res, now);
	}
	if (c->life != life || c->state != CONN_UP || (cqe->flags & IORING_CQE_F_MORE))
		return;
	if (w->options->read_part && cqe->res > 0)
		flow_read_later(w, c, now);
	else
		arm_receive(w, c);
}

/* The buffer goes back, whoever's it was. */
static void recycle(struct uring_engine *e, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_BUFFER))
		return;
	unsigned short id = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	io_uring_buf_ring_add(e->buffers, e->pool + id * e->buffer_size, (unsigned)e->buffer_size, id,
		io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(e->buffers, 1);
}

static void connected(struct worker *w, struct conn *c, int result)
{
	int error = result < 0 ? -result : net_connect_result(c->fd);
	uint32_t life = c->life;

	if (error) {
		flow_connect_failed(w, c, error, clock_now());
		return;
	}
	flow_connected(w, c, clock_now());
	/* A slow reader's pause may have outlived the connection before this one: its end arms the receive. */
	if (c->life == life && c->state == CONN_UP && !c->read_waits)
		arm_receive(w, c);
}

static void handle(struct worker *w, const struct io_uring_cqe *cqe, uint64_t now)
{
	struct conn *c = &w->conns[(uint32_t)cqe->user_data >> 4];

	if (c->life != cqe->user_data >> 32 || c->state == CONN_DOWN)
		return;
	switch ((enum op)(cqe->user_data & 15)) {
	case OP_CONNECT:
		connected(w, c, cqe->res);
		break;
	case OP_RECEIVE:
		received(w, c, cqe, now);
		break;
	case OP_SEND:
		sent(w, c, cqe->res, now);
		break;
	}
}

static void ur_wait(struct worker *w, uint64_t deadline_ns)
{
	struct uring_engine *e = w->engine_state;
	uint64_t begun = clock_now(), left = deadline_ns > begun ? deadline_ns - begun : 0;
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	if (w->options->wait == WAIT_SPIN || left == 0) {
		io_uring_submit_and_get_events(&e->ring);
	} else {
		struct __kernel_timespec timeout = {(int64_t)(left / NS_PER_S), (long long)(left % NS_PER_S)};
		io_uring_submit_and_wait_timeout(
			&e->ring, &cqe, 1, deadline_ns == CLOCK_NEVER ? NULL : &timeout, NULL);
	}
	uint64_t now = clock_now();
	io_uring_for_each_cqe(&e->ring, head, cqe)
	{
		handle(w, cqe, now);
		recycle(e, cqe);
		count++;
	}
	io_uring_cq_advance(&e->ring, count);
	w->tally.waits++;
	w->tally.events += count;
	/* Only a spinning wait is idle time that the CPU clock cannot tell from work. */
	if (count == 0 && w->options->wait == WAIT_SPIN)
		flow_idled(w, begun, now);
}

const struct engine engine_uring = {
	.name = "io_uring",
	.init = ur_init,
	.fini = ur_fini,
	.open = ur_open,
	.send = ur_send,
	.close = ur_close,
	.wait = ur_wait,
	.read_on = arm_receive,
};
