#include "flow.h"

#include <assert.h>
#include <stdlib.h>

#include "clock.h"
#include "engine.h"
#include "flow_parts.h"

static uint32_t power_of_two(uint64_t at_least)
{
	uint32_t n = 1;

	while (n < at_least)
		n *= 2;
	return n;
}

static void init_conns(struct worker *w, uint32_t first_id, uint32_t ring)
{
	for (uint32_t i = 0; i < w->conn_count; i++) {
		struct conn *c = &w->conns[i];
		c->fd = -1;
		c->id = first_id + i;
		c->idle = i >= w->active_count;
		c->requests = c->idle ? NULL : w->requests + (size_t)i * ring;
		/* Where a connection is opened for each request, nothing is opened beforehand. */
		c->to_open = c->idle || w->per_life == 0;
		w->to_open += c->to_open;
	}
}

bool flow_init(struct worker *w, uint32_t first_id, uint32_t active, uint32_t idle)
{
	uint32_t ring = power_of_two(w->options->depth);

	w->per_life = w->proto.ops->until_eof ? 1 : w->options->per_connection;
	w->ring_mask = ring - 1;
	w->active_count = active;
	w->conn_count = active + idle;
	bool fine = fifo_init(&w->places, power_of_two(active * w->options->depth)) &&
		    fifo_init(&w->senders, power_of_two(active)) &&
		    fifo_init(&w->readers, power_of_two(w->conn_count));
	w->conns = calloc(w->conn_count, sizeof(*w->conns));
	w->requests = calloc((size_t)active * ring, sizeof(*w->requests));
	if (!fine || !w->conns || !w->requests)
		return false;
	init_conns(w, first_id, ring);
	return true;
}

void flow_fini(struct worker *w)
{
	free(w->places.slots);
	free(w->senders.slots);
	free(w->readers.slots);
	free(w->conns);
	free(w->requests);
	interval_box_free(w->box);
}

/* --- the window --- */

uint64_t flow_window_end(const struct worker *w)
{
	return atomic_load_explicit(&w->run->window_end_ns, memory_order_relaxed);
}

bool flow_in_window(const struct worker *w, uint64_t moment_ns)
{
	return moment_ns >= w->run->window_start_ns && moment_ns < flow_window_end(w);
}

void flow_idled(struct worker *w, uint64_t from_ns, uint64_t to_ns)
{
	/* Not before the run: its moments are set when all connections stand. */
	if (w->running && flow_in_window(w, from_ns))
		w->tally.idle_ns += to_ns - from_ns;
}

/* --- what is due --- */

/* How many requests more c may have in flight now. */
static uint64_t room_of(const struct worker *w, const struct conn *c)
{
	/* One that was answered before it was wholly sent keeps its place. */
	uint64_t oldest = c->sending < c->answered ? c->sending : c->answered;
	uint64_t room = w->options->depth - (c->issued - oldest);

	if (w->per_life == 0)
		return c->state == CONN_UP ? room : 0;
	if (c->state == CONN_DOWN)
		return c->to_open ? 0 : room < w->per_life ? room : w->per_life;
	/* While it connects for its first request, no other is put on it. */
	uint64_t left = c->state == CONN_UP ? w->per_life - (c->issued - c->first) : 0;
	return room < left ? room : left;
}

/* Sends what was issued, or opens the connection for it. */
static void begin(struct worker *w, struct conn *c, uint64_t now)
{
	if (c->state == CONN_DOWN)
		lives_open(w, c);
	else
		flow_flush(w, c, now);
}

void flow_offer(struct worker *w, struct conn *c, uint64_t now)
{
	const struct options *o = w->options;

	/* Open loop goes on in the drain: what was due in the window is still to be served. */
	if (!w->running || (o->mode == MODE_CLOSED && now >= flow_window_end(w)))
		return;
	uint64_t room = room_of(w, c);
	if (o->mode == MODE_CLOSED && o->think_ns == 0) {
		for (; room > 0; room--)
			flow_issue(w, c, now);
		if (c->state == CONN_DOWN && c->issued > c->answered)
			lives_open(w, c);
		return;
	}
	for (; c->places < room; c->places++)
		fifo_push(&w->places, (struct place){now + o->think_ns, (uint32_t)(c - w->conns)});
}

/* Takes the first place of the queue: its connection and since when it has been able to take a request; NULL
 * when it has been lost since it offered itself (when it is up again it offers itself again). */
static struct conn *take_place(struct worker *w, uint64_t *since_ns)
{
	struct place place = fifo_pop(&w->places);
	struct conn *c = &w->conns[place.conn];

	c->places--;
	*since_ns = place.since_ns > c->ready_ns ? place.since_ns : c->ready_ns;
	return room_of(w, c) > 0 ? c : NULL;
}

/* Closed loop with think time: places are queued in the order in which their thinking ends. */
static uint64_t dispatch_thinkers(struct worker *w)
{
	uint64_t since_ns, now;

	while (!fifo_empty(&w->places)) {
		if (fifo_peek(&w->places).since_ns > (now = clock_now()))
			return fifo_peek(&w->places).since_ns;
		struct conn *c = take_place(w, &since_ns);
		if (c && now < flow_window_end(w)) {
			flow_issue(w, c, since_ns);
			begin(w, c, now);
		}
	}
	return CLOCK_NEVER;
}

/* Open loop: requests whose time has come go to free connections. Those that find none stay queued, which costs
 * nothing: the schedule itself is the queue. */
static uint64_t dispatch_schedule(struct worker *w)
{
	struct schedule *s = &w->schedule;
	uint64_t since_ns, now, shed_ns = w->options->shed_ns;

	while (s->next_ns < flow_window_end(w)) {
		uint64_t due_ns = s->next_ns;
		if (due_ns > (now = clock_now()))
			return due_ns;
		if (shed_ns && now - due_ns > shed_ns) {
			flow_end_unissued(w, due_ns, OUTCOME_SHED);
			schedule_advance(s);
			continue;
		}
		struct conn *c = NULL;
		while (!c && !fifo_empty(&w->places))
			c = take_place(w, &since_ns);
		if (!c)
			return CLOCK_NEVER;
		/* From here on the generator alone is late. */
		if (flow_in_window(w, due_ns))
			hist_record(&w->tally.late, now - (due_ns > since_ns ? due_ns : since_ns));
		flow_issue(w, c, due_ns);
		schedule_advance(s);
		begin(w, c, now);
	}
	return CLOCK_NEVER;
}

uint64_t flow_dispatch(struct worker *w)
{
	if (!w->running)
		return CLOCK_NEVER;
	if (w->options->mode == MODE_OPEN)
		return dispatch_schedule(w);
	return w->options->think_ns ? dispatch_thinkers(w) : CLOCK_NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- slow senders and readers --- */

void flow_send_later(struct worker *w, struct conn *c)
{
	if (c->send_waits)
		return;
	c->send_waits = true;
	fifo_push(&w->senders, (struct place){c->send_gate_ns, (uint32_t)(c - w->conns)});
}

void flow_read_later(struct worker *w, struct conn *c, uint64_t now)
{
	if (c->read_waits)
		return;
	c->read_waits = true;
	fifo_push(&w->readers, (struct place){now + w->options->read_every_ns, (uint32_t)(c - w->conns)});
}

/* The pauses of one kind are all equally long, so that the first of a queue is the first that ends. */
static uint64_t end_pauses(struct worker *w)
{
	uint64_t now = clock_now();

	while (!fifo_empty(&w->senders) && fifo_peek(&w->senders).since_ns <= now) {
		struct conn *c = &w->conns[fifo_pop(&w->senders).conn];
		c->send_waits = false;
		if (c->state == CONN_UP)
			flow_flush(w, c, now);
	}
	while (!fifo_empty(&w->readers) && fifo_peek(&w->readers).since_ns <= now) {
		struct conn *c = &w->conns[fifo_pop(&w->readers).conn];
		c->read_waits = false;
		if (c->state == CONN_UP)
			w->engine->read_on(w, c);
	}
	uint64_t send_ns = fifo_empty(&w->senders) ? CLOCK_NEVER : fifo_peek(&w->senders).since_ns;
	uint64_t read_ns = fifo_empty(&w->readers) ? CLOCK_NEVER : fifo_peek(&w->readers).since_ns;
	return earlier(send_ns, read_ns);
}

void flow_flush(struct worker *w, struct conn *c, uint64_t now)
{
	/* A send that waits for room goes on by itself. */
	if (c->issued == c->sending || c->want_send)
		return;
	int failed = w->engine->send(w, c, now);
	if (failed)
		lives_lose(w, c, outcome_of_io_errno(-failed), now);
}

/* --- the tick --- */

uint64_t flow_tick(struct worker *w, uint64_t now)
{
	uint64_t next_ns = earlier(lives_open_due(w, now), lives_sweep(w, now));

	if (w->box && w->running) {
		if (now >= w->box->next_ns)
			interval_publish(w->box, now);
		next_ns = earlier(next_ns, w->box->next_ns);
	}
	next_ns = earlier(next_ns, w->running ? flow_next_edge(w, now) : CLOCK_NEVER);
	next_ns = earlier(next_ns, flow_dispatch(w));
	/* Behind the dispatch, which may begin a pause. */
	return w->options->send_part || w->options->read_part ? earlier(next_ns, end_pauses(w)) : next_ns;
}

/* --- phases --- */

uint64_t flow_next_edge(const struct worker *w, uint64_t now)
{
	uint64_t end_ns = flow_window_end(w);

	return now < end_ns ? end_ns : atomic_load_explicit(&w->run->drain_end_ns, memory_order_relaxed);
}

bool flow_all_up(const struct worker *w)
{
	return w->to_open == 0 && w->connecting == 0;
}

bool flow_drained(const struct worker *w)
{
	return w->in_flight == 0 &&
	       (w->options->mode == MODE_CLOSED || w->schedule.next_ns >= flow_window_end(w));
}

/* Closed loop: the first requests do not think, the load begins with the run. */
static void start_closed(struct worker *w, struct conn *c)
{
	uint64_t now = clock_now();

	for (uint64_t room = room_of(w, c); room > 0; room--)
		flow_issue(w, c, now);
	if (c->issued > c->answered)
		begin(w, c, now);
}

void flow_start(struct worker *w)
{
	w->running = true;
	if (w->box)
		w->box->next_ns = w->run->start_ns + w->box->every_ns;
	for (uint32_t i = 0; w->options->mode == MODE_CLOSED && i < w->active_count; i++)
		start_closed(w, &w->conns[i]);
	/* Open loop: one place of every connection before the second of any, so that requests spread. */
	for (uint64_t round = 0; w->options->mode == MODE_OPEN && round < w->options->depth; round++) {
		for (uint32_t i = 0; i < w->active_count; i++) {
			struct conn *c = &w->conns[i];
			if (c->places < room_of(w, c)) {
				fifo_push(&w->places, (struct place){w->run->start_ns, i});
				c->places++;
			}
		}
	}
}

void flow_finish(struct worker *w)
{
	for (uint32_t i = 0; i < w->conn_count; i++) {
		struct conn *c = &w->conns[i];
		while (c->answered < c->issued)
			flow_end_request(w, c, OUTCOME_INFLIGHT_END);
		lives_close(w, c);
	}
	if (!w->running || w->options->mode == MODE_CLOSED)
		return;
	for (; w->schedule.next_ns < flow_window_end(w); schedule_advance(&w->schedule))
		flow_end_unissued(w, w->schedule.next_ns, OUTCOME_NEVER_SENT);
}
