/* The lives of connections: opened, lost, replaced. A slot never stays empty: what fails is opened again, at
 * once the first time and then after pauses that double. With a limit on requests per connection, a slot is
 * opened for a request instead, and its connect is part of that request. */
#include <assert.h>
#include <errno.h>

#include "clock.h"
#include "engine.h"
#include "flow.h"
#include "flow_parts.h"

enum {
	MAX_CONNECTING = 128, /* connects in flight at once per thread: well below any listener's queue */
	START_ATTEMPTS = 3,   /* before the run, a slot that fails this often ends it */
	MAX_DOUBLINGS = 8,
};

static const uint64_t FIRST_RETRY_NS = NS_PER_MS;

static struct connect_counts *counts_of(struct worker *w, const struct conn *c)
{
	return c->idle ? &w->tally.idle_connects : &w->tally.connects;
}

static bool opened_per_request(const struct worker *w, const struct conn *c)
{
	return w->per_life > 0 && !c->idle;
}

void lives_open(struct worker *w, struct conn *c)
{
	assert(c->state == CONN_DOWN && c->fd < 0);
	if (c->to_open)
		w->to_open--;
	c->to_open = false;
	c->state = CONN_CONNECTING;
	c->life++;
	c->first = c->answered;
	c->opened_ns = clock_now();
	for (uint64_t seq = c->answered; seq < c->issued; seq++)
		flow_mark_sent(w, &c->requests[seq & w->ring_mask], c->opened_ns);
	w->connecting++;
	counts_of(w, c)->attempts++;
	int failed = w->engine->open(w, c);
	if (failed)
		flow_connect_failed(w, c, -failed, c->opened_ns);
}

void lives_close(struct worker *w, struct conn *c)
{
	if (c->state == CONN_UP)
		w->up--;
	else if (c->state == CONN_CONNECTING)
		w->connecting--;
	if (c->fd >= 0)
		w->engine->close(w, c);
	c->state = CONN_DOWN;
	c->fd = -1;
	c->want_send = false;
	c->sending = c->answered = c->issued;
	c->send_off = 0;
	c->send_gate_ns = 0;
}

static void open_later(struct worker *w, struct conn *c, uint64_t at_ns)
{
	c->retry_ns = at_ns;
	c->to_open = true;
	w->to_open++;
}

/* The slot, now down, goes on. */
static void go_on(struct worker *w, struct conn *c, uint64_t now)
{
	if (opened_per_request(w, c)) {
		c->ready_ns = now;
		flow_offer(w, c, now);
	} else {
		lives_open(w, c);
	}
}

void lives_recycle(struct worker *w, struct conn *c, uint64_t now)
{
	if (c->answered < c->issued) {
		lives_lose(w, c, OUTCOME_EARLY_EOF, now);
		return;
	}
	counts_of(w, c)->recycled++;
	lives_close(w, c);
	go_on(w, c, now);
}

void lives_lose(struct worker *w, struct conn *c, enum outcome outcome, uint64_t now)
{
	while (c->answered < c->issued)
		flow_end_request(w, c, outcome);
	counts_of(w, c)->replaced++;
	lives_close(w, c);
	go_on(w, c, now);
}

void flow_connected(struct worker *w, struct conn *c, uint64_t now)
{
	c->state = CONN_UP;
	c->attempts = 0;
	c->ready_ns = now;
	w->connecting--;
	w->up++;
	counts_of(w, c)->established++;
	hist_record(&w->tally.connect, now - c->opened_ns);
	if (c->idle)
		return;
	w->proto.ops->start(&w->proto, &c->checker);
	flow_offer(w, c, now);
	flow_flush(w, c, now);
}

void flow_connect_failed(struct worker *w, struct conn *c, int error, uint64_t now)
{
	enum outcome outcome = outcome_of_connect_errno(error);

	counts_of(w, c)->failed[outcome]++;
	while (c->answered < c->issued)
		flow_end_request(w, c, outcome);
	lives_close(w, c);
	uint32_t doublings = c->attempts < MAX_DOUBLINGS ? c->attempts : MAX_DOUBLINGS;
	open_later(w, c, now + (FIRST_RETRY_NS << doublings));
	c->attempts++;
	if (!w->running && c->attempts >= START_ATTEMPTS && !w->failed) {
		w->failed = "connect";
		w->failed_errno = error;
	}
}

uint64_t lives_open_due(struct worker *w, uint64_t now)
{
	if (w->to_open == 0)
		return CLOCK_NEVER;
	for (uint32_t looked = 0; now >= w->next_open_ns && looked < w->conn_count; looked++) {
		if (w->connecting >= MAX_CONNECTING)
			return CLOCK_NEVER; /* the next connect that ends brings us back here */
		struct conn *c = &w->conns[w->next_down];
		w->next_down = w->next_down + 1 < w->conn_count ? w->next_down + 1 : 0;
		if (!c->to_open || c->retry_ns > now)
			continue;
		if (opened_per_request(w, c)) {
			c->to_open = false;
			w->to_open--;
		}
		go_on(w, c, now);
	}
	if (now >= w->next_open_ns)
		w->next_open_ns = now + FIRST_RETRY_NS;
	return w->to_open > 0 ? w->next_open_ns : CLOCK_NEVER;
}

static void sweep_conn(struct worker *w, struct conn *c, uint64_t now)
{
	/* `now` may be older than what this tick has opened and sent: the limits are added, never a moment
	 * subtracted. */
	if (c->state == CONN_CONNECTING && now > c->opened_ns + w->options->connect_timeout_ns) {
		flow_connect_failed(w, c, ETIMEDOUT, now);
	} else if (c->state == CONN_UP && c->answered < c->issued) {
		uint64_t sent_ns = c->requests[c->answered & w->ring_mask].sent_ns;
		if (sent_ns && now > sent_ns + w->options->timeout_ns)
			lives_lose(w, c, OUTCOME_TIMEOUT, now);
	}
}

static uint64_t sweep_interval(const struct options *o)
{
	uint64_t shorter = o->timeout_ns < o->connect_timeout_ns ? o->timeout_ns : o->connect_timeout_ns;
	uint64_t interval = shorter / 50;

	return interval < NS_PER_MS ? NS_PER_MS : interval > 50 * NS_PER_MS ? 50 * NS_PER_MS : interval;
}

uint64_t lives_sweep(struct worker *w, uint64_t now)
{
	if (now < w->next_sweep_ns)
		return w->next_sweep_ns;
	/* Idle connections have nothing that could time out but their connect. */
	uint32_t count = w->connecting > 0 ? w->conn_count : w->active_count;
	for (uint32_t i = 0; i < count; i++)
		sweep_conn(w, &w->conns[i], now);
	return w->next_sweep_ns = now + sweep_interval(w->options);
}
