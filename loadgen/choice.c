#include "choice.h"

#include <string.h>

enum { STREAMS = 1 << 20 }; /* those below are the schedules' */

void chooser_init(struct chooser *c, const struct options *load, uint64_t stream)
{
	uint64_t sum = 0;

	memset(c, 0, sizeof(*c));
	rng_init(&c->rng, load->seed, STREAMS + stream);
	c->kinds = options_class_count(load);
	for (uint32_t i = 0; i < c->kinds; i++) {
		const struct options *one = options_class(load, i);
		c->weights[i] = sum += one->weight;
		c->numbers[i] = one->numbers;
	}
}

/* Evenly from 0 to n - 1, n at most 2^32. */
static uint64_t below(struct rng *rng, uint64_t n)
{
	return (rng_next(rng) >> 32) * n >> 32;
}

struct choice chooser_next(struct chooser *c)
{
	struct choice choice = {0, 0};

	if (c->kinds > 1) {
		uint64_t at = below(&c->rng, c->weights[c->kinds - 1]);
		while (at >= c->weights[choice.kind])
			choice.kind++;
	}
	const struct numbers *n = &c->numbers[choice.kind];
	if (n->any)
		choice.number = (uint32_t)(n->first + below(&c->rng, (uint64_t)n->last - n->first + 1));
	return choice;
}
