/* Percentiles in the text form of HdrHistogram, for its plotter and everything else that reads it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "report.h"

enum { TICKS_PER_HALF = 5 }; /* lines for each halving of the distance to 100 % */

static const double NS_PER_UNIT = 1e6; /* milliseconds, as is usual there */

static void header(FILE *out, const struct options *o, const char *what, uint64_t unfinished)
{
	fprintf(out, "#[%s of %s, %s; unit: ms]\n", what, o->target, mode_names[o->mode]);
	if (unfinished)
		fprintf(out,
			"#[%" PRIu64
			" requests did not finish and rank above all of these; the percentiles count them]\n",
			unfinished);
	fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
}

static uint64_t counted_up_to(const struct histogram *h, uint64_t value)
{
	uint64_t sum = value >= h->max ? h->overflow : 0;

	for (uint32_t i = 0; i < HIST_BINS && hist_low(i) <= value; i++)
		sum += h->bins[i];
	return sum;
}

static void line(FILE *out, const struct histogram *h, double quantile, uint64_t value)
{
	fprintf(out, "%12.6f %2.12f %10" PRIu64, (double)value / NS_PER_UNIT, quantile,
		counted_up_to(h, value));
	if (quantile < 1)
		fprintf(out, " %14.2f\n", 1 / (1 - quantile));
	else
		fputc('\n', out);
}

static void body(FILE *out, const struct histogram *h, uint64_t unfinished)
{
	uint64_t value = 0;
	double quantile = 0;

	/* Each halving of what is left above takes TICKS_PER_HALF lines, until single requests are told apart.
	 */
	for (double half = 0.5; value < h->max && value != HIST_INFINITE; half /= 2) {
		for (int tick = 0; tick < TICKS_PER_HALF && value < h->max; tick++) {
			quantile = 1 - 2 * half + half * tick / TICKS_PER_HALF;
			value = hist_quantile_at(h, quantile, unfinished);
			if (value == HIST_INFINITE)
				return;
			line(out, h, quantile, value);
		}
	}
	if (unfinished == 0)
		line(out, h, 1, h->max);
}

bool report_hgrm(const char *path, const struct options *o, const struct result *r, char *why, size_t why_size)
{
	const struct tally *t = &r->loads[0].total;
	bool open = o->mode == MODE_OPEN;
	const struct histogram *h = open ? &t->intended : &t->sent;
	uint64_t unfinished = open ? t->scheduled - t->classes[CLASS_OK] : 0;
	FILE *out = fopen(path, "we");

	if (!out)
		return options_wrong(why, why_size, "--hgrm %s: %s", path, strerror(errno));
	header(out, o, open ? "latency from the intended time" : "latency from the send", unfinished);
	if (h->n > 0) {
		body(out, h, unfinished);
		fprintf(out, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n", hist_mean(h) / NS_PER_UNIT,
			hist_stddev(h) / NS_PER_UNIT);
		fprintf(out, "#[Max     = %12.6f, Total count    = %12" PRIu64 "]\n",
			(double)h->max / NS_PER_UNIT, h->n);
	}
	fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", HIST_TOP_BITS - HIST_SUB_BITS + 1,
		1 << HIST_SUB_BITS);
	bool fine = !ferror(out);
	fine = fclose(out) == 0 && fine;
	return fine || options_wrong(why, why_size, "--hgrm %s: cannot be written to its end", path);
}
