#include "tally.h"

#include <stdlib.h>

static void add_outcomes(uint64_t *into, const uint64_t *from)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
		into[i] += from[i];
}

static void add_connects(struct connect_counts *into, const struct connect_counts *from)
{
	into->attempts += from->attempts;
	into->established += from->established;
	into->replaced += from->replaced;
	into->recycled += from->recycled;
	add_outcomes(into->failed, from->failed);
}

static void add_kind(struct kind_tally *into, const struct kind_tally *from)
{
	into->scheduled += from->scheduled;
	into->completed += from->completed;
	add_outcomes(into->outcomes, from->outcomes);
	add_outcomes(into->outside, from->outside);
	hist_add(&into->intended, &from->intended);
	hist_add(&into->sent, &from->sent);
}

bool tally_init(struct tally *t, uint32_t kind_count)
{
	*t = (struct tally){0};
	hist_init(&t->intended);
	hist_init(&t->sent);
	hist_init(&t->lag);
	hist_init(&t->connect);
	hist_init(&t->late);
	if (kind_count == 0)
		return true;
	t->kinds = calloc(kind_count, sizeof(*t->kinds));
	if (!t->kinds)
		return false;
	t->kind_count = kind_count;
	for (uint32_t i = 0; i < kind_count; i++) {
		hist_init(&t->kinds[i].intended);
		hist_init(&t->kinds[i].sent);
	}
	return true;
}

void tally_fini(struct tally *t)
{
	free(t->kinds);
	t->kinds = NULL;
	t->kind_count = 0;
}

void tally_add(struct tally *into, const struct tally *from)
{
	into->scheduled += from->scheduled;
	into->completed += from->completed;
	into->sent_bytes += from->sent_bytes;
	into->received_bytes += from->received_bytes;
	into->unsolicited += from->unsolicited;
	into->waits += from->waits;
	into->events += from->events;
	into->receives += from->receives;
	into->sends += from->sends;
	into->send_blocked += from->send_blocked;
	into->idle_ns += from->idle_ns;
	add_outcomes(into->outcomes, from->outcomes);
	add_outcomes(into->outside, from->outside);
	add_connects(&into->connects, &from->connects);
	add_connects(&into->idle_connects, &from->idle_connects);
	hist_add(&into->intended, &from->intended);
	hist_add(&into->sent, &from->sent);
	hist_add(&into->lag, &from->lag);
	hist_add(&into->connect, &from->connect);
	hist_add(&into->late, &from->late);
	for (uint32_t i = 0; i < into->kind_count && i < from->kind_count; i++)
		add_kind(&into->kinds[i], &from->kinds[i]);
}

static uint64_t sum_of(const uint64_t *outcomes)
{
	uint64_t sum = 0;

	for (int i = 0; i < OUTCOME_COUNT; i++)
		sum += outcomes[i];
	return sum;
}

uint64_t tally_ended(const struct tally *t)
{
	return sum_of(t->outcomes);
}

bool tally_is_whole(const struct tally *t)
{
	uint64_t scheduled = 0, completed = 0;
	bool whole = tally_ended(t) == t->scheduled;

	for (uint32_t i = 0; i < t->kind_count; i++) {
		const struct kind_tally *k = &t->kinds[i];
		whole = whole && sum_of(k->outcomes) == k->scheduled && k->sent.n == k->outcomes[OUTCOME_OK];
		scheduled += k->scheduled;
		completed += k->completed;
	}
	return whole && (t->kind_count == 0 || (scheduled == t->scheduled && completed == t->completed));
}

uint64_t tally_errors(const struct tally *t)
{
	uint64_t sum = 0;

	for (int i = OUTCOME_FIRST_ERROR; i < OUTCOME_COUNT; i++)
		sum += t->outcomes[i] + t->outside[i];
	return sum;
}

uint64_t tally_connect_failures(const struct connect_counts *c)
{
	return sum_of(c->failed);
}
