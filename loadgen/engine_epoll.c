/* The epoll engine. A socket is registered once, edge-triggered for both directions, and never touched again:
 * no epoll_ctl per request, and an event that was handled costs the kernel no second look (level-triggered,
 * epoll_wait asks every socket once more). The price: after a short read the socket is known to be drained, but
 * not when the event also told of an end; then it is read until it says so. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"

enum { BATCH = 256 };

struct epoll_engine {
	int fd;
	struct epoll_event events[BATCH];
	uint8_t outbox[SCRATCH_BYTES], inbox[SCRATCH_BYTES];
};

static int ep_init(struct worker *w)
{
	struct epoll_engine *e = calloc(1, sizeof(*e));

	w->engine_state = e;
	if (e && (e->fd = epoll_create1(EPOLL_CLOEXEC)) >= 0)
		return 0;
	w->failed = "epoll_create1";
	return -errno;
}

static void ep_fini(struct worker *w)
{
	struct epoll_engine *e = w->engine_state;

	if (e && e->fd >= 0)
		close(e->fd);
	free(e);
}

static int ep_open(struct worker *w, struct conn *c)
{
	struct epoll_engine *e = w->engine_state;
	uint64_t key = (uint64_t)c->life << 32 | (uint32_t)(c - w->conns);
	struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = key};

	int fd = net_connect(w->run->target, c->id + c->life);
	if (fd < 0)
		return fd;
	c->fd = fd;
	return epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &interest) < 0 ? -errno : 0;
}

static void ep_close(struct worker *w, struct conn *c)
{
	(void)w; /* closing the only descriptor of a socket also takes it out of the epoll set */
	close(c->fd);
}

static int ep_send(struct worker *w, struct conn *c, uint64_t now)
{
	struct epoll_engine *e = w->engine_state;
	const uint8_t *data;
	size_t length;

	for (; (length = flow_output(w, c, now, e->outbox, sizeof(e->outbox), &data)) > 0; now = clock_now()) {
		ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
		w->tally.sends++;
		if (n < 0 && errno == EAGAIN) {
			w->tally.send_blocked++;
			c->want_send = true;
			return 0;
		}
		if (n < 0 && errno != EINTR)
			return -errno;
		flow_sent(w, c, n < 0 ? 0 : (size_t)n);
		if (c->sending == c->issued)
			break;
	}
	c->want_send = false;
	return 0;
}

/* One recv. True: there may be more to read at once. */
static bool receive_once(struct worker *w, struct conn *c, size_t size, bool to_the_end)
{
	struct epoll_engine *e = w->engine_state;
	uint32_t life = c->life;
	ssize_t n = recv(c->fd, e->inbox, size, 0);
	int error = errno;
	uint64_t now = clock_now();

	w->tally.receives++;
	if (n > 0)
		flow_received(w, c, e->inbox, (size_t)n, now);
	else if (n == 0)
		flow_eof(w, c, now);
	else if (error == EAGAIN)
		return false;
	else if (error != EINTR)
		flow_failed(w, c, error, now);
	return c->life == life && c->state == CONN_UP && (n == (ssize_t)size || n < 0 || to_the_end);
}

/* A slow reader: one part now, the next after its pause, until the socket is empty; then the next event begins
 * anew. */
static void read_part(struct worker *w, struct conn *c)
{
	uint32_t life = c->life;
	uint64_t received = w->tally.received_bytes;

	receive_once(w, c, (size_t)w->options->read_part, false);
	if (c->life == life && c->state == CONN_UP && w->tally.received_bytes > received)
		flow_read_later(w, c, clock_now());
}

static void receive(struct worker *w, struct conn *c, uint32_t events)
{
	bool to_the_end = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

	if (w->options->read_part) {
		if (!c->read_waits)
			read_part(w, c);
		return;
	}
	while (receive_once(w, c, SCRATCH_BYTES, to_the_end))
		;
}

static void handle(struct worker *w, struct conn *c, uint32_t events)
{
	uint32_t life = c->life;

	if (c->state == CONN_CONNECTING) {
		int error = net_connect_result(c->fd);
		if (error)
			flow_connect_failed(w, c, error, clock_now());
		else if (events & EPOLLOUT)
			flow_connected(w, c, clock_now());
	} else if (c->want_send && (events & EPOLLOUT)) {
		int failed = ep_send(w, c, clock_now());
		if (failed)
			flow_failed(w, c, -failed, clock_now());
	}
	if (c->life == life && c->state == CONN_UP && (events & ~(uint32_t)EPOLLOUT))
		receive(w, c, events);
}

static void ep_wait(struct worker *w, uint64_t deadline_ns)
{
	struct epoll_engine *e = w->engine_state;
	uint64_t now = clock_now();
	uint64_t left = w->options->wait == WAIT_SPIN || deadline_ns <= now ? 0 : deadline_ns - now;
	struct timespec timeout = clock_timespec(left);

	int n = epoll_pwait2(e->fd, e->events, BATCH, deadline_ns == CLOCK_NEVER ? NULL : &timeout, NULL);
	w->tally.waits++;
	if (n <= 0) {
		/* Only a spinning wait is idle time that the CPU clock cannot tell from work. */
		if (w->options->wait == WAIT_SPIN)
			flow_idled(w, now, clock_now());
		return;
	}
	w->tally.events += (uint64_t)n;
	for (int i = 0; i < n; i++) {
		struct conn *c = &w->conns[(uint32_t)e->events[i].data.u64];
		if (c->life == e->events[i].data.u64 >> 32 && c->state != CONN_DOWN)
			handle(w, c, e->events[i].events);
	}
}

const struct engine engine_epoll = {
	.name = "epoll",
	.init = ep_init,
	.fini = ep_fini,
	.open = ep_open,
	.send = ep_send,
	.close = ep_close,
	.wait = ep_wait,
	.read_on = read_part,
};
