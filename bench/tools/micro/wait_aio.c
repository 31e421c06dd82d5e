/* Linux AIO's poll requests: one call hands in many, events are taken from the ring that the kernel maps into
 * this process, without a call while there are any. */
#include "waits.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RING_MAGIC = 0xa10a10a1, BATCH = 1024 };

struct ring { /* the head of the kernel's struct aio_ring (fs/aio.c), stable since Linux 2.6 */
	unsigned id, slots, head, tail, magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

static aio_context_t context;
static struct iocb *blocks;
static struct iocb **list;
static const int *watched;
static unsigned total;

static void submit(long n)
{
	for (long done = 0; done < n;) {
		long taken = syscall(SYS_io_submit, context, n - done, list + done);
		if (taken < 0)
			fail("io_submit");
		done += taken;
	}
}

static void watch(const int *fds, unsigned count)
{
	if (syscall(SYS_io_setup, count, &context) != 0)
		cannot("io_setup (fs.aio-max-nr bounds it)");
	watched = fds;
	total = count;
	blocks = zeroed(count, sizeof *blocks);
	list = zeroed(count, sizeof(struct iocb *));
	for (unsigned i = 0; i < count; i++) {
		blocks[i] = (struct iocb){.aio_data = i,
			.aio_lio_opcode = IOCB_CMD_POLL,
			.aio_fildes = (unsigned)fds[i],
			.aio_buf = POLLIN};
		list[i] = &blocks[i];
	}
	submit(count);
}

/* This process is the only one that takes events, so it may move the head itself. */
static unsigned from_ring(unsigned *ready, unsigned room)
{
	struct ring *ring = (struct ring *)context;
	if (ring->magic != RING_MAGIC || ring->incompat_features)
		return 0;
	unsigned head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE), n = 0;
	for (; n < room && head != tail; head = (head + 1) % ring->slots)
		ready[n++] = (unsigned)ring->events[head].data;
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
	return n;
}

static unsigned wait_once(unsigned *ready, unsigned room)
{
	unsigned n = from_ring(ready, room);
	if (n > 0)
		return n;
	struct io_event events[EVENTS_PER_WAIT];
	long most = room < EVENTS_PER_WAIT ? (long)room : EVENTS_PER_WAIT;
	long got = syscall(SYS_io_getevents, context, 1L, most, events, NULL);
	if (got < 0)
		fail("io_getevents");
	for (long i = 0; i < got; i++)
		ready[i] = (unsigned)events[i].data;
	return (unsigned)got;
}

static void again(const unsigned *ready, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		list[i] = &blocks[ready[i]];
	submit(n);
}

/* Without io_destroy: it waits until no CPU can still hold the context (grace periods of RCU), tens of
 * milliseconds however few are watched, which would be divided among them. The end of the process destroys it,
 * too. */
static void unwatch(void)
{
	struct io_event unused;
	for (unsigned i = 0; i < total; i++)
		syscall(SYS_io_cancel, context, &blocks[i], &unused);
	free(blocks);
	free(list);
}

const struct way way_linux_aio = {"linux_aio",
	"poll requests handed in with one call, taken from a ring without any", watch, wait_once, again,
	unwatch};
