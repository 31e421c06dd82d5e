/* floor_client_uring: one submission per request and a share of one io_uring_enter, as the load generator's
 * io_uring engine makes them: a multishot receive per connection over a ring of buffers, and sends that report
 * failures only. `make reach` shows it beside the engine. See floor_client.h.  pkg-config: liburing */
#include "floor_client.h"

#include <liburing.h>
#include <sys/mman.h>

enum { ENTRIES = 1024, BUFFERS = 512, BUFFER_BYTES = 4096, SENT = UINT32_MAX };

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char pool[BUFFERS][BUFFER_BYTES];

static void give_back(unsigned short id)
{
	io_uring_buf_ring_add(buffers, pool[id], BUFFER_BYTES, id, io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(buffers, 1);
}

static void set_up(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = 4 * ENTRIES};
	struct io_uring_buf_reg registration = {.ring_entries = BUFFERS};

	if (io_uring_queue_init_params(ENTRIES, &ring, &params)) {
		fprintf(stderr, "io_uring with DEFER_TASKRUN is not to be had here (Linux 6.1; "
				"kernel.io_uring_disabled)\n");
		exit(77);
	}
	io_uring_register_ring_fd(&ring);
	buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
		MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	registration.ring_addr = (uint64_t)(uintptr_t)buffers;
	if (buffers == MAP_FAILED || io_uring_register_buf_ring(&ring, &registration, 0))
		floor_die("io_uring_register_buf_ring");
	io_uring_buf_ring_init(buffers);
	for (unsigned short i = 0; i < BUFFERS; i++)
		give_back(i);
}

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	while (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static void ask(const struct floor_client *f, unsigned which)
{
	struct io_uring_sqe *sqe = next_sqe();

	io_uring_prep_send(sqe, f->fds[which], f->request, f->request_len, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, SENT);
}

static void listen_to(const struct floor_client *f, unsigned which)
{
	struct io_uring_sqe *sqe = next_sqe();

	io_uring_prep_recv_multishot(sqe, f->fds[which], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	io_uring_sqe_set_data64(sqe, which);
}

static void handle(struct floor_client *f, const struct io_uring_cqe *cqe)
{
	unsigned which = (unsigned)cqe->user_data;

	if (cqe->user_data == SENT || (cqe->res <= 0 && cqe->res != -ENOBUFS)) {
		fprintf(stderr, "floor_client_uring: %s\n",
			cqe->res ? strerror(-cqe->res) : "the server closed");
		exit(1);
	}
	bool whole = cqe->res > 0 && floor_received(f, which, (size_t)cqe->res);
	if (cqe->flags & IORING_CQE_F_BUFFER)
		give_back((unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
	if (!(cqe->flags & IORING_CQE_F_MORE))
		listen_to(f, which);
	if (whole)
		ask(f, which);
}

int main(int argc, char **argv)
{
	static struct floor_client f;

	floor_start(&f, argc, argv);
	set_up();
	for (unsigned i = 0; i < f.connections; i++) {
		listen_to(&f, i);
		ask(&f, i);
	}
	while (!floor_over(&f)) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;
		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			handle(&f, cqe);
			count++;
		}
		io_uring_cq_advance(&ring, count);
	}
	return 0;
}
