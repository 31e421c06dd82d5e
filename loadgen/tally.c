#include "tally.h"

static void add_connects(struct connect_counts *into, const struct connect_counts *from)
{
	into->attempts += from->attempts;
	into->established += from->established;
	into->replaced += from->replaced;
	into->recycled += from->recycled;
	for (int i = 0; i < CLASS_COUNT; i++)
		into->failed[i] += from->failed[i];
}

void tally_init(struct tally *t)
{
	*t = (struct tally){0};
	hist_init(&t->intended);
	hist_init(&t->sent);
	hist_init(&t->lag);
	hist_init(&t->connect);
	hist_init(&t->late);
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
	for (int i = 0; i < CLASS_COUNT; i++) {
		into->classes[i] += from->classes[i];
		into->outside[i] += from->outside[i];
	}
	add_connects(&into->connects, &from->connects);
	add_connects(&into->idle_connects, &from->idle_connects);
	hist_add(&into->intended, &from->intended);
	hist_add(&into->sent, &from->sent);
	hist_add(&into->lag, &from->lag);
	hist_add(&into->connect, &from->connect);
	hist_add(&into->late, &from->late);
}

uint64_t tally_ended(const struct tally *t)
{
	uint64_t sum = 0;

	for (int i = 0; i < CLASS_COUNT; i++)
		sum += t->classes[i];
	return sum;
}

uint64_t tally_errors(const struct tally *t)
{
	uint64_t sum = 0;

	for (int i = CLASS_FIRST_ERROR; i < CLASS_COUNT; i++)
		sum += t->classes[i] + t->outside[i];
	return sum;
}

uint64_t tally_connect_failures(const struct connect_counts *c)
{
	uint64_t sum = 0;

	for (int i = 0; i < CLASS_COUNT; i++)
		sum += c->failed[i];
	return sum;
}
