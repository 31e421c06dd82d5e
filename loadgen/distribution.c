#include "distribution.h"

#include <string.h>

static const struct {
	const char *name;
	uint32_t ppm;
} quantiles[] = {{"p50", 500000}, {"p75", 750000}, {"p90", 900000}, {"p95", 950000}, {"p99", 990000},
	{"p999", 999000}, {"p9999", 999900}};

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *bins(const struct histogram *h)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < HIST_BINS; i++) {
		if (h->bins[i])
			json_array_append_new(
				list, json_pack("[II]", (json_int_t)hist_low(i), (json_int_t)h->bins[i]));
	}
	return list;
}

static json_t *known(const struct histogram *h, uint64_t value)
{
	return h->n ? integer(value) : json_null();
}

json_t *distribution_json(const struct histogram *h, uint64_t unfinished)
{
	if (h->n + unfinished == 0)
		return json_null();
	json_t *d = json_pack("{sI sI so so so}", "n", (json_int_t)h->n, "unfinished", (json_int_t)unfinished,
		"min", known(h, h->min), "mean", h->n ? json_real(hist_mean(h)) : json_null(), "stddev",
		h->n ? json_real(hist_stddev(h)) : json_null());
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		uint64_t value = hist_quantile(h, quantiles[i].ppm, unfinished);
		json_object_set_new(
			d, quantiles[i].name, value == HIST_INFINITE ? json_null() : integer(value));
	}
	json_object_set_new(d, "max", known(h, h->max));
	json_object_set_new(d, "sum", integer(h->sum));
	json_object_set_new(d, "overflow", integer(h->overflow));
	json_object_set_new(d, "bins", bins(h));
	return d;
}

/* A non-negative integer member; false when it is missing. */
static bool member(const json_t *object, const char *name, uint64_t *out)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static bool read_bins(const json_t *list, struct histogram *h)
{
	size_t i;
	json_t *bin;

	if (!json_is_array(list))
		return false;
	json_array_foreach(list, i, bin)
	{
		json_int_t low = json_integer_value(json_array_get(bin, 0)),
			   n = json_integer_value(json_array_get(bin, 1));
		if (json_array_size(bin) != 2 || low < 0 || low >> HIST_TOP_BITS || n < 1)
			return false;
		uint32_t index = hist_index((uint64_t)low);
		if (hist_low(index) != (uint64_t)low)
			return false;
		h->bins[index] += (uint64_t)n;
	}
	return true;
}

bool distribution_read(const json_t *d, struct histogram *into, uint64_t *unfinished)
{
	static struct histogram one;
	uint64_t more = 0, counted = 0;

	if (json_is_null(d))
		return true;
	hist_init(&one);
	if (!member(d, "n", &one.n) || !member(d, "sum", &one.sum) || !member(d, "overflow", &one.overflow) ||
		!member(d, "unfinished", &more) || !read_bins(json_object_get(d, "bins"), &one))
		return false;
	if (one.n > 0 && (!member(d, "min", &one.min) || !member(d, "max", &one.max)))
		return false;
	for (uint32_t i = 0; i < HIST_BINS; i++)
		counted += one.bins[i];
	if (counted + one.overflow != one.n)
		return false;
	hist_add(into, &one);
	*unfinished += more;
	return true;
}

uint32_t distribution_ppm(const char *name)
{
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		if (strcmp(quantiles[i].name, name) == 0)
			return quantiles[i].ppm;
	return 0;
}
