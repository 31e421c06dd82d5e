/* What comes in: replies are checked, and what follows from each. */
#include "clock.h"
#include "engine.h"
#include "flow.h"
#include "flow_parts.h"
#include "net.h"

static struct request *oldest(const struct worker *w, const struct conn *c)
{
	return &c->requests[c->answered & w->ring_mask];
}

static struct asked asked_first(const struct worker *w, const struct conn *c)
{
	return (struct asked){c->id, c->answered, c->issued, oldest(w, c)->choice};
}

/* A reply is complete and its connection is still in step. False: the connection's life is over. */
static bool answered(struct worker *w, struct conn *c, enum verdict verdict, uint64_t now)
{
	const struct request *r = oldest(w, c);
	uint64_t took_ns = now - r->sent_ns;

	/* A reply that came too late, but before the sweep saw that it was missing. */
	if (took_ns > w->options->timeout_ns) {
		lives_lose(w, c, OUTCOME_TIMEOUT, now);
		return false;
	}
	if (verdict != VERDICT_OK)
		flow_end_request(w, c, outcome_of_verdict(verdict));
	else if (took_ns < w->proto.kinds[r->choice.kind].delay_ns)
		flow_end_request(w, c, OUTCOME_TOO_SOON);
	else
		flow_complete(w, c, now);
	bool over = w->per_life > 0 && c->answered - c->first == w->per_life;
	if (w->proto.closing || over)
		lives_recycle(w, c, now);
	return !w->proto.closing && !over;
}

/* Is a reply owed on c? Not before a byte of its request has left. */
static bool owes(const struct worker *w, const struct conn *c)
{
	return c->answered < c->issued && oldest(w, c)->sent_ns != 0;
}

/* Checks all replies in n bytes. False: the connection's life is over. */
static bool check_replies(struct worker *w, struct conn *c, const uint8_t *data, size_t n, uint64_t now)
{
	while (n > 0) {
		enum verdict verdict;

		if (!owes(w, c)) {
			w->tally.unsolicited++;
			lives_lose(w, c, OUTCOME_LONG, now);
			return false;
		}
		struct asked asked = asked_first(w, c);
		size_t used = w->proto.ops->check(&w->proto, &c->checker, &asked, data, n, &verdict);
		data += used;
		n -= used;
		if (verdict == VERDICT_MORE)
			return true;
		/* Bytes behind the last reply that is owed belong to nobody: the reply was too long. */
		if (n > 0 && c->issued - c->answered == 1 && verdict < VERDICT_FATAL)
			verdict = w->proto.ops->extra(&w->proto, &asked, data, n);
		if (verdict >= VERDICT_FATAL) {
			lives_lose(w, c, outcome_of_verdict(verdict), now);
			return false;
		}
		if (!answered(w, c, verdict, now))
			return false;
	}
	return true;
}

/* Requests that waited for a free connection need not wait for the end of the batch. */
static void dispatch_queued(struct worker *w, uint64_t now)
{
	if (w->options->mode == MODE_OPEN && w->schedule.next_ns <= now)
		flow_dispatch(w);
}

void flow_received(struct worker *w, struct conn *c, const uint8_t *data, size_t n, uint64_t now)
{
	w->tally.received_bytes += n;
	c->last_byte_ns = now;
	if (w->options->quick_ack)
		net_quick_ack(c->fd);
	if (check_replies(w, c, data, n, now)) {
		flow_offer(w, c, now);
		flow_flush(w, c, now);
	}
	dispatch_queued(w, now);
}

void flow_eof(struct worker *w, struct conn *c, uint64_t now)
{
	enum verdict verdict = VERDICT_MORE;

	if (c->answered < c->issued) {
		struct asked asked = asked_first(w, c);
		verdict = w->proto.ops->eof(&w->proto, &c->checker, &asked);
	}
	if (verdict == VERDICT_OK) {
		flow_complete(w, c, c->last_byte_ns);
		lives_recycle(w, c, now);
	} else {
		lives_lose(
			w, c, verdict == VERDICT_MORE ? OUTCOME_EARLY_EOF : outcome_of_verdict(verdict), now);
	}
	dispatch_queued(w, now);
}

void flow_failed(struct worker *w, struct conn *c, int error, uint64_t now)
{
	lives_lose(w, c, outcome_of_io_errno(error), now);
}
