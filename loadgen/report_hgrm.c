/* Percentiles in the text form of HdrHistogram, for its plotter and everything else that reads it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "draft.h"
#include "report.h"

enum { TICKS_PER_HALF = 5 }; /* lines for each halving of the distance to 100 % */

static const double NS_PER_UNIT = 1e6; /* milliseconds, as is usual there */

static void header(FILE *out, const struct options *o, const char *whose, uint64_t unfinished)
{
	fprintf(out, "#[latency from the %s of %s%s%s, %s; unit: ms]\n",
		o->mode == MODE_OPEN ? "intended time" : "send", o->target, *whose ? ": " : "", whose,
		mode_names[o->mode]);
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

/* What one file holds. */
struct spectrum {
	const struct options *load;
	char whose[2 * MAX_NAME + 2]; /* "POPULATION.CLASS"; empty: of the main load, all classes */
	const struct histogram *intended, *sent;
	uint64_t unfinished;
};

/* run.hgrm becomes run.WHOSE.hgrm; a name without an ending gets WHOSE as one. */
static void name_file(const char *path, const char *whose, char *out, size_t size)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
	bool has_ending = dot && dot > (slash ? slash + 1 : path);
	int stem = has_ending ? (int)(dot - path) : (int)strlen(path);

	snprintf(out, size, "%.*s%s%s%s", stem, path, *whose ? "." : "", whose, has_ending ? dot : "");
}

static bool write_file(const char *path, const struct spectrum *s, char *why, size_t why_size)
{
	bool open = s->load->mode == MODE_OPEN;
	const struct histogram *h = open ? s->intended : s->sent;
	uint64_t unfinished = open ? s->unfinished : 0;
	char name[4096];
	struct draft draft;

	name_file(path, s->whose, name, sizeof(name));
	if (!draft_open(&draft, name))
		return options_wrong(why, why_size, "--hgrm %s: %s", name, strerror(errno));
	FILE *out = draft.file;
	header(out, s->load, s->whose, unfinished);
	if (h->n > 0) {
		body(out, h, unfinished);
		fprintf(out, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n", hist_mean(h) / NS_PER_UNIT,
			hist_stddev(h) / NS_PER_UNIT);
		fprintf(out, "#[Max     = %12.6f, Total count    = %12" PRIu64 "]\n",
			(double)h->max / NS_PER_UNIT, h->n);
	}
	fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", HIST_TOP_BITS - HIST_SUB_BITS + 1,
		1 << HIST_SUB_BITS);
	return draft_close(&draft, true) ||
	       options_wrong(why, why_size, "--hgrm %s: cannot write it: %s", name, strerror(errno));
}

static bool write_load(const char *path, const struct load *load, char *why, size_t why_size)
{
	const struct tally *t = &load->total;
	const char *name = load->options->name ? load->options->name : "";
	struct spectrum s = {load->options, "", &t->intended, &t->sent, t->scheduled - t->outcomes[OUTCOME_OK]};

	snprintf(s.whose, sizeof(s.whose), "%s", name);
	bool fine = write_file(path, &s, why, why_size);
	for (uint32_t i = 0; fine && i < t->kind_count; i++) {
		const struct kind_tally *k = &t->kinds[i];
		s = (struct spectrum){
			load->options, "", &k->intended, &k->sent, k->scheduled - k->outcomes[OUTCOME_OK]};
		snprintf(s.whose, sizeof(s.whose), "%s%s%s", name, *name ? "." : "",
			load->options->classes[i]->name);
		fine = write_file(path, &s, why, why_size);
	}
	return fine;
}

bool report_hgrm(const char *path, const struct result *r, char *why, size_t why_size)
{
	bool fine = true;

	for (uint32_t l = 0; fine && l < r->load_count; l++)
		fine = write_load(path, &r->loads[l], why, why_size);
	return fine;
}
