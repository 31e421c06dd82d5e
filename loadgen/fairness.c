#include "fairness.h"

#include <stdlib.h>

#include "worker.h"

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void weigh(struct fairness *f, uint64_t *served, size_t n)
{
	double sum = 0, squares = 0;

	qsort(served, n, sizeof(*served), by_value);
	for (size_t i = 0; i < n; i++) {
		f->starved += served[i] == 0;
		sum += (double)served[i];
		squares += (double)served[i] * (double)served[i];
	}
	f->connections = n;
	f->min = served[0];
	f->p50 = served[(n - 1) / 2];
	f->max = served[n - 1];
	f->jain = squares > 0 ? sum * sum / ((double)n * squares) : 0;
}

void fairness_measure(
	struct fairness *f, uint64_t connections, const struct worker *workers, uint32_t count, uint32_t load)
{
	size_t n = 0;
	uint64_t *served = calloc(connections, sizeof(*served));

	if (!served)
		return;
	for (uint32_t i = 0; i < count; i++) {
		const struct worker *w = &workers[i];
		for (uint32_t k = 0; w->load == load && k < w->active_count; k++)
			served[n++] = w->conns[k].served;
	}
	weigh(f, served, n);
	free(served);
}
