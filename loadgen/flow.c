#include "flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"

enum {
	MAX_CONNECTING = 128, /* connects in flight at once per thread: well below any listener's queue */
	START_ATTEMPTS = 3,   /* before the run, a slot that fails this often ends it */
	FIRST_RETRY_NS = 1000000,
	LAST_RETRY_NS = 256000000, /* the pause between attempts doubles up to this */
};

static uint64_t window_end(const struct worker *w)
{
	return atomic_load_explicit(&w->run->window_end_ns, memory_order_relaxed);
}

static bool in_window(const struct worker *w, uint64_t moment_ns)
{
	return moment_ns >= w->run->window_start_ns && moment_ns < window_end(w);
}

static uint64_t sweep_interval(const struct options *o)
{
	uint64_t shorter = o->timeout_ns < o->connect_timeout_ns ? o->timeout_ns : o->connect_timeout_ns;
	uint64_t interval = shorter / 50;

	return interval < NS_PER_MS ? NS_PER_MS : interval > 50 * NS_PER_MS ? 50 * NS_PER_MS : interval;
}

bool flow_init(struct worker *w, uint32_t first_id, uint32_t active, uint32_t idle)
{
	uint32_t ring = 1;

	while (ring < w->options->depth)
		ring *= 2;
	w->ring_mask = ring - 1;
	w->active_count = active;
	w->conn_count = w->down = active + idle;
	w->conns = calloc(w->conn_count, sizeof(*w->conns));
	struct request *requests = calloc((size_t)active * ring, sizeof(*requests));
	w->requests = requests;
	w->scratch = malloc(SCRATCH_BYTES);
	w->inbox = malloc(SCRATCH_BYTES);
	if (!w->conns || !requests || !w->scratch || !w->inbox)
		return false;
	for (uint32_t i = 0; i < w->conn_count; i++) {
		struct conn *c = &w->conns[i];
		c->fd = -1;
		c->id = first_id + i;
		c->idle = i >= active;
		c->requests = c->idle ? NULL : requests + (size_t)i * ring;
	}
	return true;
}

void flow_fini(struct worker *w)
{
	free(w->conns);
	free(w->requests);
	free(w->scratch);
	free(w->inbox);
}

/* --- requests ----------------------------------------------------------------------------------------------
 */

static void issue(struct worker *w, struct conn *c, uint64_t intended_ns)
{
	struct request *r = &c->requests[c->issued & w->ring_mask];

	r->intended_ns = intended_ns;
	r->sent_ns = 0;
	c->issued++;
	w->in_flight++;
	if (in_window(w, intended_ns))
		w->tally.scheduled++;
}

/* The oldest request in flight ends in `class`. */
static void end_request(struct worker *w, struct conn *c, enum class class)
{
	const struct request *r = &c->requests[c->answered & w->ring_mask];

	c->answered++;
	w->in_flight--;
	if (in_window(w, r->intended_ns))
		w->tally.classes[class]++;
	else
		w->tally.outside[class]++;
}

/* The oldest request in flight has its right reply, at `now`. */
static void complete(struct worker *w, struct conn *c, uint64_t now)
{
	const struct request *r = &c->requests[c->answered & w->ring_mask];

	if (in_window(w, r->intended_ns)) {
		hist_record(&w->tally.sent, now - r->sent_ns);
		if (w->options->mode == MODE_OPEN)
			hist_record(&w->tally.intended, now - r->intended_ns);
	}
	if (in_window(w, now))
		w->tally.completed++;
	end_request(w, c, CLASS_OK);
}

/* Closed loop: a free place on a connection is a request, now. */
static void refill(struct worker *w, struct conn *c, uint64_t now)
{
	if (!w->running || now >= window_end(w))
		return;
	while (c->issued - c->answered < w->options->depth)
		issue(w, c, now);
}

/* --- connections -------------------------------------------------------------------------------------------
 */

static struct connect_counts *counts_of(struct worker *w, const struct conn *c)
{
	return c->idle ? &w->tally.idle_connects : &w->tally.connects;
}

static void open_conn(struct worker *w, struct conn *c, uint64_t now)
{
	assert(c->state == CONN_DOWN);
	c->state = CONN_CONNECTING;
	c->opened_ns = clock_now();
	c->life++;
	w->down--;
	w->connecting++;
	counts_of(w, c)->attempts++;
	int failed = w->engine->open(w, c);
	if (failed)
		flow_connect_failed(w, c, -failed, now);
}

static void close_conn(struct worker *w, struct conn *c)
{
	if (c->state == CONN_UP)
		w->up--;
	else if (c->state == CONN_CONNECTING)
		w->connecting--;
	w->down++;
	c->state = CONN_DOWN;
	if (c->fd >= 0)
		w->engine->close(w, c);
	c->fd = -1;
	c->want_send = false;
	c->sending = c->answered = c->issued;
	c->send_off = 0;
}

/* The connection is lost, and all its requests in flight with it; the slot gets a new one at once. */
static void lose(struct worker *w, struct conn *c, enum class class, uint64_t now)
{
	while (c->answered < c->issued)
		end_request(w, c, class);
	counts_of(w, c)->replaced++;
	close_conn(w, c);
	open_conn(w, c, now);
}

static void flush(struct worker *w, struct conn *c, uint64_t now)
{
	int failed = w->engine->send(w, c, now);

	if (failed)
		lose(w, c, class_of_io_errno(-failed), now);
}

void flow_connected(struct worker *w, struct conn *c, uint64_t now)
{
	c->state = CONN_UP;
	c->attempts = 0;
	w->connecting--;
	w->up++;
	counts_of(w, c)->established++;
	hist_record(&w->tally.connect, now - c->opened_ns);
	if (c->idle)
		return;
	w->proto.ops->start(&w->proto, &c->checker);
	refill(w, c, now);
	if (c->issued > c->sending)
		flush(w, c, now);
}

void flow_connect_failed(struct worker *w, struct conn *c, int error, uint64_t now)
{
	counts_of(w, c)->failed[class_of_connect_errno(error)]++;
	close_conn(w, c);
	uint64_t pause = c->attempts < 8 ? (uint64_t)FIRST_RETRY_NS << c->attempts : LAST_RETRY_NS;
	c->retry_ns = now + pause;
	c->attempts++;
	if (!w->running && c->attempts >= START_ATTEMPTS && !w->failed) {
		w->failed = "connect";
		w->failed_errno = error;
	}
}

/* Opens slots that are down and due, never more than MAX_CONNECTING at once. */
static void open_due(struct worker *w, uint64_t now)
{
	for (uint32_t looked = 0; looked < w->conn_count && w->connecting < MAX_CONNECTING && w->down > 0;
		looked++) {
		struct conn *c = &w->conns[w->next_down];
		w->next_down = w->next_down + 1 < w->conn_count ? w->next_down + 1 : 0;
		if (c->state == CONN_DOWN && c->retry_ns <= now)
			open_conn(w, c, now);
	}
}

static void sweep_conn(struct worker *w, struct conn *c, uint64_t now)
{
	if (c->state == CONN_CONNECTING && now - c->opened_ns > w->options->connect_timeout_ns) {
		flow_connect_failed(w, c, ETIMEDOUT, now);
	} else if (c->state == CONN_UP && c->answered < c->issued) {
		uint64_t sent_ns = c->requests[c->answered & w->ring_mask].sent_ns;
		if (sent_ns && now - sent_ns > w->options->timeout_ns)
			lose(w, c, CLASS_TIMEOUT, now);
	}
}

bool flow_all_up(const struct worker *w)
{
	return w->up == w->conn_count;
}

bool flow_drained(const struct worker *w)
{
	return w->in_flight == 0;
}

uint64_t flow_tick(struct worker *w, uint64_t now)
{
	if (w->down > 0)
		open_due(w, now);
	if (now >= w->next_sweep_ns) {
		/* Idle connections have nothing that could time out but their connect. */
		uint32_t count = w->connecting > 0 ? w->conn_count : w->active_count;
		for (uint32_t i = 0; i < count; i++)
			sweep_conn(w, &w->conns[i], now);
		w->next_sweep_ns = now + sweep_interval(w->options);
	}
	if (w->down > 0 && now + FIRST_RETRY_NS < w->next_sweep_ns)
		return now + FIRST_RETRY_NS;
	return w->next_sweep_ns;
}

void flow_start(struct worker *w, uint64_t now)
{
	w->running = true;
	for (uint32_t i = 0; i < w->active_count; i++) {
		struct conn *c = &w->conns[i];
		if (c->state != CONN_UP)
			continue;
		now = clock_now();
		refill(w, c, now);
		flush(w, c, now);
	}
}

void flow_finish(struct worker *w)
{
	for (uint32_t i = 0; i < w->conn_count; i++) {
		struct conn *c = &w->conns[i];
		while (c->answered < c->issued)
			end_request(w, c, CLASS_INFLIGHT_END);
		close_conn(w, c);
	}
}

/* --- events ------------------------------------------------------------------------------------------------
 */

size_t flow_output(struct worker *w, struct conn *c, uint64_t now, const uint8_t **data)
{
	const struct proto *p = &w->proto;
	size_t off = c->send_off, used = 0;

	for (uint64_t seq = c->sending; seq < c->issued && used < SCRATCH_BYTES; seq++) {
		struct request *r = &c->requests[seq & w->ring_mask];
		size_t part = p->request_len - off;
		if (part > SCRATCH_BYTES - used)
			part = SCRATCH_BYTES - used;
		p->ops->fill(p, c->id, seq, off, w->scratch + used, part);
		/* The first attempt counts: waiting for room in the kernel's buffer is the server's time. */
		if (r->sent_ns == 0)
			r->sent_ns = now;
		used += part;
		off = 0;
	}
	*data = w->scratch;
	return used;
}

void flow_sent(struct worker *w, struct conn *c, size_t n)
{
	w->tally.sent_bytes += n;
	n += c->send_off;
	while (n >= w->proto.request_len && c->sending < c->issued) {
		n -= w->proto.request_len;
		c->sending++;
	}
	c->send_off = n;
}

static enum class class_of_verdict(enum verdict verdict) {
	static const enum class classes[] =
		{
			[VERDICT_OK] = CLASS_OK,
			[VERDICT_MISMATCH] = CLASS_MISMATCH,
			[VERDICT_ORDER] = CLASS_ORDER,
			[VERDICT_FOREIGN] = CLASS_FOREIGN,
			[VERDICT_STATUS] = CLASS_STATUS,
			[VERDICT_SHORT] = CLASS_SHORT,
			[VERDICT_LONG] = CLASS_LONG,
			[VERDICT_DUPLICATE] = CLASS_DUPLICATE,
			[VERDICT_MALFORMED] = CLASS_MISMATCH,
		};
	assert(verdict != VERDICT_MORE);
	return classes[verdict];
}

void flow_received(struct worker *w, struct conn *c, const uint8_t *data, size_t n, uint64_t now)
{
	w->tally.received_bytes += n;
	while (n > 0) {
		struct asked asked = {c->id, c->answered, c->issued};
		enum verdict verdict;

		if (c->answered == c->issued) {
			w->tally.unsolicited++;
			lose(w, c, CLASS_LONG, now);
			return;
		}
		size_t used = w->proto.ops->check(&w->proto, &c->checker, &asked, data, n, &verdict);
		data += used;
		n -= used;
		if (verdict == VERDICT_MORE)
			return;
		/* Bytes behind the last reply that is owed belong to nobody: the reply was too long. */
		if (n > 0 && c->issued - c->answered == 1 && verdict < VERDICT_FATAL)
			verdict = w->proto.ops->extra(&w->proto, &asked, data, n);
		if (verdict >= VERDICT_FATAL) {
			lose(w, c, class_of_verdict(verdict), now);
			return;
		}
		if (verdict == VERDICT_OK)
			complete(w, c, now);
		else
			end_request(w, c, class_of_verdict(verdict));
	}
	refill(w, c, now);
	if (c->issued > c->sending)
		flush(w, c, now);
}

void flow_eof(struct worker *w, struct conn *c, uint64_t now)
{
	struct asked asked = {c->id, c->answered, c->issued};
	bool inside =
		c->answered < c->issued && w->proto.ops->eof(&w->proto, &c->checker, &asked) == VERDICT_SHORT;

	lose(w, c, inside ? CLASS_SHORT : CLASS_EARLY_EOF, now);
}

void flow_failed(struct worker *w, struct conn *c, int error, uint64_t now)
{
	lose(w, c, class_of_io_errno(error), now);
}

void flow_idled(struct worker *w, uint64_t from_ns, uint64_t to_ns)
{
	if (in_window(w, from_ns))
		w->tally.idle_ns += to_ns - from_ns;
}
