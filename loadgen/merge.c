#include "merge.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distribution.h"
#include "judge.h"
#include "options.h"

static const char usage[] =
	"usage: loadgen merge [--json FILE|-] RESULT.json RESULT.json...\n\n"
	"Joins results of runs that went on at the same time, on one host or on several: counts and rates are\n"
	"added, histograms are added bin by bin, so that quantiles are those of all requests together.\n";

static const char *const distributions[] = {
	"latency_intended_ns", "latency_sent_ns", "schedule_lag_ns", "generator_lag_ns", "connect_ns"};
enum { DISTRIBUTIONS = sizeof(distributions) / sizeof(distributions[0]) };

struct merge {
	json_t *sources, *reasons, *sums; /* sums: objects of counts by the name of their member */
	struct histogram *histograms;     /* DISTRIBUTIONS of them */
	uint64_t unfinished[DISTRIBUTIONS];
	bool valid, failed;
	double achieved_rps, target_rps;
	bool has_target;
};

/* Adds all numbers of `from` to the members of the same names. */
static void add_numbers(json_t *into, const json_t *from)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)from, name, value)
	{
		json_int_t sum = json_integer_value(json_object_get(into, name)) + json_integer_value(value);
		json_object_set_new(into, name, json_integer(sum));
	}
}

static bool add_document(struct merge *m, const char *path, const json_t *d)
{
	static const char *const summed[] = {"counts", "errors", "warmup_errors"};
	size_t index;
	json_t *reason;

	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++) {
		const json_t *numbers = json_object_get(d, summed[i]);
		if (!json_is_object(numbers))
			return false;
		add_numbers(json_object_get(m->sums, summed[i]), numbers);
	}
	for (size_t i = 0; i < DISTRIBUTIONS; i++)
		if (!distribution_read(
			    json_object_get(d, distributions[i]), &m->histograms[i], &m->unfinished[i]))
			return false;
	json_array_foreach(json_object_get(d, "reasons"), index, reason)
		json_array_append_new(m->reasons, json_sprintf("%s: %s", path, json_string_value(reason)));
	m->valid = m->valid && json_is_true(json_object_get(d, "valid"));
	m->failed = m->failed || json_is_true(json_object_get(d, "failed"));
	m->achieved_rps += json_number_value(json_object_get(d, "achieved_rps"));
	m->target_rps += json_number_value(json_object_get(d, "target_rps"));
	m->has_target = m->has_target || json_is_number(json_object_get(d, "target_rps"));
	json_array_append_new(m->sources, json_string(path));
	return true;
}

static bool read_all(struct merge *m, int count, char **paths)
{
	for (int i = 0; i < count; i++) {
		json_error_t error;
		json_t *d = json_load_file(paths[i], 0, &error);
		bool fine = d && add_document(m, paths[i], d);
		if (!d)
			fprintf(stderr, "loadgen: merge: %s: %s\n", paths[i], error.text);
		else if (!fine)
			fprintf(stderr, "loadgen: merge: %s: this is not the result of a run that took place\n",
				paths[i]);
		json_decref(d);
		if (!fine)
			return false;
	}
	return true;
}

/* Takes over what m holds. */
static json_t *document(struct merge *m, enum exit_status status)
{
	json_t *d = json_pack("{si si sb sb so so sf so}", "schema", 1, "exit", (int)status, "valid", m->valid,
		"failed", m->failed, "reasons", m->reasons, "merged", m->sources, "achieved_rps",
		m->achieved_rps, "target_rps", m->has_target ? json_real(m->target_rps) : json_null());

	json_object_update_new(d, m->sums);
	for (size_t i = 0; i < DISTRIBUTIONS; i++)
		json_object_set_new(
			d, distributions[i], distribution_json(&m->histograms[i], m->unfinished[i]));
	return d;
}

static void begin(struct merge *m)
{
	m->sources = json_array();
	m->reasons = json_array();
	m->sums = json_pack("{s{} s{} s{}}", "counts", "errors", "warmup_errors");
	m->histograms = calloc(DISTRIBUTIONS, sizeof(*m->histograms));
	m->valid = true;
	for (size_t i = 0; m->histograms && i < DISTRIBUTIONS; i++)
		hist_init(&m->histograms[i]);
}

int merge_main(int argc, char **argv)
{
	const char *out = "-";
	struct merge m = {0};
	int first = 0;

	if (argc > 0 && strcmp(argv[0], "--help") == 0)
		return fputs(usage, stdout) < 0;
	if (argc > 1 && strcmp(argv[0], "--json") == 0) {
		out = argv[1];
		first = 2;
	}
	if (argc - first < 1 || argv[first][0] == '-') {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	begin(&m);
	if (!m.histograms || !read_all(&m, argc - first, argv + first)) {
		json_decref(m.sources);
		json_decref(m.reasons);
		json_decref(m.sums);
		free(m.histograms);
		return EXIT_USAGE;
	}
	enum exit_status status = !m.valid ? EXIT_INVALID : m.failed ? EXIT_FAILED : EXIT_GOOD;
	json_t *d = document(&m, status);
	FILE *file = strcmp(out, "-") == 0 ? stdout : fopen(out, "we");
	bool fine =
		file && json_dumpf(d, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF && fflush(file) == 0;
	if (!fine)
		fprintf(stderr, "loadgen: merge: %s cannot be written\n", out);
	if (file && file != stdout)
		fclose(file);
	json_decref(d);
	free(m.histograms);
	return fine ? (int)status : EXIT_FAILED;
}
