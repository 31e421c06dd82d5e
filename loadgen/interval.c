#include "interval.h"

#include <stdlib.h>

void interval_init(struct interval *i)
{
	i->ok = i->errors = i->sent = 0;
	hist_init(&i->latency);
}

void interval_add(struct interval *into, const struct interval *from)
{
	into->ok += from->ok;
	into->errors += from->errors;
	into->sent += from->sent;
	hist_add(&into->latency, &from->latency);
}

struct interval_box *interval_box_new(uint64_t every_ns)
{
	struct interval_box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	pthread_mutex_init(&box->lock, NULL);
	interval_init(&box->published);
	interval_init(&box->current);
	box->every_ns = every_ns;
	return box;
}

void interval_box_free(struct interval_box *box)
{
	if (!box)
		return;
	pthread_mutex_destroy(&box->lock);
	free(box);
}

void interval_publish(struct interval_box *box, uint64_t now_ns)
{
	pthread_mutex_lock(&box->lock);
	interval_add(&box->published, &box->current);
	pthread_mutex_unlock(&box->lock);
	interval_init(&box->current);
	do
		box->next_ns += box->every_ns;
	while (box->next_ns <= now_ns);
}

void interval_take(struct interval_box *box, struct interval *into)
{
	pthread_mutex_lock(&box->lock);
	interval_add(into, &box->published);
	interval_init(&box->published);
	pthread_mutex_unlock(&box->lock);
}
