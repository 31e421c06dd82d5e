/* One request: begun, written, ended, counted. */
#include "clock.h"
#include "flow.h"
#include "flow_parts.h"

/* Where a load has classes, its requests are counted in both. */
static struct kind_tally *kind_of(struct worker *w, struct choice choice)
{
	return w->tally.kinds ? &w->tally.kinds[choice.kind] : NULL;
}

static void count_scheduled(struct worker *w, bool counted, struct choice choice)
{
	struct kind_tally *kind = kind_of(w, choice);

	w->tally.scheduled += counted;
	if (kind)
		kind->scheduled += counted;
}

static void count_end(struct worker *w, bool counted, struct choice choice, enum outcome outcome)
{
	struct kind_tally *kind = kind_of(w, choice);

	(counted ? w->tally.outcomes : w->tally.outside)[outcome]++;
	if (kind)
		(counted ? kind->outcomes : kind->outside)[outcome]++;
	if (w->box && outcome >= OUTCOME_FIRST_ERROR)
		w->box->current.errors++;
}

void flow_issue(struct worker *w, struct conn *c, uint64_t intended_ns)
{
	struct request *r = &c->requests[c->issued & w->ring_mask];

	r->intended_ns = intended_ns;
	r->sent_ns = 0;
	r->choice = chooser_next(&w->chooser);
	r->length = (uint32_t)proto_request_len(&w->proto, r->choice);
	r->counted = flow_in_window(w, intended_ns);
	c->issued++;
	w->in_flight++;
	count_scheduled(w, r->counted, r->choice);
}

void flow_end_unissued(struct worker *w, uint64_t intended_ns, enum outcome outcome)
{
	bool counted = flow_in_window(w, intended_ns);
	struct choice choice = chooser_next(&w->chooser);

	count_scheduled(w, counted, choice);
	count_end(w, counted, choice, outcome);
}

void flow_mark_sent(struct worker *w, struct request *r, uint64_t now)
{
	r->sent_ns = now;
	if (r->counted && w->options->mode == MODE_OPEN)
		hist_record(&w->tally.lag, now - r->intended_ns);
}

void flow_end_request(struct worker *w, struct conn *c, enum outcome outcome)
{
	const struct request *r = &c->requests[c->answered & w->ring_mask];

	c->answered++;
	w->in_flight--;
	count_end(w, r->counted, r->choice, outcome);
}

/* A good reply to a request of the window. */
static void record(struct worker *w, const struct request *r, uint64_t now)
{
	struct kind_tally *kind = kind_of(w, r->choice);
	bool open = w->options->mode == MODE_OPEN;

	hist_record(&w->tally.sent, now - r->sent_ns);
	if (open)
		hist_record(&w->tally.intended, now - r->intended_ns);
	if (!kind)
		return;
	hist_record(&kind->sent, now - r->sent_ns);
	if (open)
		hist_record(&kind->intended, now - r->intended_ns);
}

void flow_complete(struct worker *w, struct conn *c, uint64_t now)
{
	const struct request *r = &c->requests[c->answered & w->ring_mask];
	struct kind_tally *kind = kind_of(w, r->choice);
	bool in_window = flow_in_window(w, now);

	if (r->counted) {
		c->served++;
		record(w, r, now);
	}
	w->tally.completed += in_window;
	if (kind)
		kind->completed += in_window;
	if (w->box) {
		w->box->current.ok++;
		hist_record(&w->box->current.latency,
			now - (w->options->mode == MODE_OPEN ? r->intended_ns : r->sent_ns));
	}
	flow_end_request(w, c, OUTCOME_OK);
}

/* --- its bytes --- */

static void stamp(struct worker *w, struct request *r, uint64_t now)
{
	/* The first attempt counts: waiting for room in the kernel's buffer is the server's time. */
	if (r->sent_ns == 0)
		flow_mark_sent(w, r, now);
}

/* All requests are the same bytes, and many of them lie ready one after another. At most `size` bytes, or what
 * is left of the request that holds the last of them. */
static size_t constant_output(struct worker *w, struct conn *c, uint64_t now, size_t size, const uint8_t **data)
{
	const struct proto *p = &w->proto;
	uint64_t count = c->issued - c->sending, length = p->kinds[0].request_len;

	if (count > p->constant_count)
		count = p->constant_count;
	if (count * length > c->send_off + size)
		count = (c->send_off + size + length - 1) / length;
	for (uint64_t i = 0; i < count; i++)
		stamp(w, &c->requests[(c->sending + i) & w->ring_mask], now);
	*data = p->constant + c->send_off;
	return (size_t)(count * length) - c->send_off;
}

static size_t filled_output(
	struct worker *w, struct conn *c, uint64_t now, uint8_t *room, size_t size, const uint8_t **data)
{
	const struct proto *p = &w->proto;
	size_t off = c->send_off, used = 0;

	for (uint64_t seq = c->sending; seq < c->issued && used < size; seq++) {
		struct request *r = &c->requests[seq & w->ring_mask];
		struct asked asked = {c->id, seq, c->issued, r->choice};
		size_t part = r->length - off;
		if (part > size - used)
			part = size - used;
		p->ops->fill(p, &asked, off, room + used, part);
		stamp(w, r, now);
		used += part;
		off = 0;
	}
	*data = room;
	return used;
}

size_t flow_output(
	struct worker *w, struct conn *c, uint64_t now, uint8_t *room, size_t size, const uint8_t **data)
{
	const struct options *o = w->options;

	if (c->sending == c->issued)
		return 0;
	if (o->send_part && now < c->send_gate_ns) {
		flow_send_later(w, c);
		return 0;
	}
	if (!o->send_part)
		return w->proto.constant ? constant_output(w, c, now, SIZE_MAX / 2, data)
					 : filled_output(w, c, now, room, size, data);
	/* Only what leaves now is marked as sent. */
	size_t part = (size_t)o->send_part;
	size_t length = w->proto.constant ? constant_output(w, c, now, part, data)
					  : filled_output(w, c, now, room, part < size ? part : size, data);
	c->send_gate_ns = now + o->send_every_ns;
	return length < part ? length : part;
}

void flow_sent(struct worker *w, struct conn *c, size_t n)
{
	bool behind = c->sending < c->answered;
	size_t length;

	w->tally.sent_bytes += n;
	n += c->send_off;
	while (c->sending < c->issued && n >= (length = c->requests[c->sending & w->ring_mask].length)) {
		n -= length;
		c->sending++;
	}
	c->send_off = n;
	if (c->sending == c->issued)
		c->send_gate_ns = 0; /* the pause is one between the parts of a request */
	/* A request that was answered before it was wholly sent kept its place until now. */
	if (behind && c->sending >= c->answered)
		flow_offer(w, c, clock_now());
}
