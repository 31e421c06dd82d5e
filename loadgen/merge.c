#include "merge.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distribution.h"
#include "draft.h"
#include "judge.h"
#include "options.h"

static const char usage[] =
	"usage: loadgen merge [--json FILE|-] RESULT.json RESULT.json...\n\n"
	"Joins results of runs that went on at the same time, on one host or on several: counts and rates are\n"
	"added, histograms are added bin by bin, so that quantiles are those of all requests together. "
	"Populations and\n"
	"classes of requests are joined with those of the same name.\n";

static const char *const distributions[] = {
	"latency_intended_ns", "latency_sent_ns", "schedule_lag_ns", "generator_lag_ns", "connect_ns"};
static const char *const sums[] = {"counts", "errors", "warmup_errors", "connects", "idle_connects"};
enum {
	DISTRIBUTIONS = sizeof(distributions) / sizeof(distributions[0]),
	SUMS = sizeof(sums) / sizeof(sums[0]),
};

/* A load, a population of it, or a class of its requests: what all results say of it, added. */
enum level { LOAD, POPULATION, CLASS };

struct part {
	enum level level;
	const char *name; /* NULL: the main load; else within one of the results, which stay until the end */
	json_t *sums[SUMS];
	struct histogram histograms[DISTRIBUTIONS];
	uint64_t unfinished[DISTRIBUTIONS];
	double achieved_rps, target_rps;
	bool has_target;
	struct part *populations, *classes; /* lists */
	struct part *next;
};

/* Of a class, less is told. */
static size_t distributions_of(const struct part *p)
{
	return p->level == CLASS ? 2 : DISTRIBUTIONS;
}

static size_t sums_of(const struct part *p)
{
	return p->level == CLASS ? 3 : SUMS;
}

static struct part *part_new(enum level level, const char *name)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->level = level;
	p->name = name;
	for (size_t i = 0; i < SUMS; i++)
		p->sums[i] = json_object();
	for (size_t i = 0; i < DISTRIBUTIONS; i++)
		hist_init(&p->histograms[i]);
	return p;
}

static void part_free(struct part *p)
{
	while (p) {
		struct part *next = p->next;
		for (size_t i = 0; i < SUMS; i++)
			json_decref(p->sums[i]);
		part_free(p->populations);
		part_free(p->classes);
		free(p);
		p = next;
	}
}

/* Adds all numbers of `from`, at any depth, to the members of the same names. */
static void add_numbers(json_t *into, const json_t *from)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)from, name, value)
	{
		json_t *mine = json_object_get(into, name);
		if (json_is_object(value)) {
			if (!mine)
				json_object_set_new(into, name, mine = json_object());
			add_numbers(mine, value);
		} else {
			json_object_set_new(
				into, name, json_integer(json_integer_value(mine) + json_integer_value(value)));
		}
	}
}

/* The part of this name in the list, made where there is none. */
static struct part *part_named(struct part **list, enum level level, const char *name)
{
	for (; *list; list = &(*list)->next)
		if (strcmp((*list)->name, name) == 0)
			return *list;
	return *list = part_new(level, name);
}

static bool add_part(struct part *p, const json_t *d);

static bool add_list(struct part **list, enum level level, const json_t *array)
{
	size_t i;
	json_t *one;

	json_array_foreach(array, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));
		struct part *p = name ? part_named(list, level, name) : NULL;
		if (!p || !add_part(p, one))
			return false;
	}
	return true;
}

static bool add_part(struct part *p, const json_t *d)
{
	for (size_t i = 0; i < sums_of(p); i++) {
		const json_t *numbers = json_object_get(d, sums[i]);
		if (!json_is_object(numbers))
			return false;
		add_numbers(p->sums[i], numbers);
	}
	for (size_t i = 0; i < distributions_of(p); i++)
		if (!distribution_read(
			    json_object_get(d, distributions[i]), &p->histograms[i], &p->unfinished[i]))
			return false;
	p->achieved_rps += json_number_value(json_object_get(d, "achieved_rps"));
	p->target_rps += json_number_value(json_object_get(d, "target_rps"));
	p->has_target = p->has_target || json_is_number(json_object_get(d, "target_rps"));
	return add_list(&p->classes, CLASS, json_object_get(d, "classes")) &&
	       add_list(&p->populations, POPULATION, json_object_get(d, "populations"));
}

static json_t *part_json(const struct part *p, const struct part *whole);

static json_t *list_json(const struct part *list, const struct part *whole)
{
	json_t *array = json_array();

	for (; list; list = list->next)
		json_array_append_new(array, part_json(list, whole));
	return array;
}

static json_t *share(const struct part *p, const struct part *whole)
{
	json_int_t mine = json_integer_value(json_object_get(p->sums[0], "scheduled"));
	json_int_t all = json_integer_value(json_object_get(whole->sums[0], "scheduled"));

	return all > 0 ? json_real((double)mine / (double)all) : json_null();
}

static json_t *part_json(const struct part *p, const struct part *whole)
{
	json_t *d = json_pack("{sf}", "achieved_rps", p->achieved_rps);

	if (p->name)
		json_object_set_new(d, "name", json_string(p->name));
	for (size_t i = 0; i < sums_of(p); i++)
		json_object_set(d, sums[i], p->sums[i]);
	for (size_t i = 0; i < distributions_of(p); i++)
		json_object_set_new(
			d, distributions[i], distribution_json(&p->histograms[i], p->unfinished[i]));
	if (p->level == CLASS) {
		json_object_set_new(d, "share", share(p, whole));
		return d;
	}
	json_object_set_new(d, "target_rps", p->has_target ? json_real(p->target_rps) : json_null());
	json_object_set_new(d, "classes", list_json(p->classes, p));
	if (p->level == LOAD)
		json_object_set_new(d, "populations", list_json(p->populations, p));
	return d;
}

struct merge {
	json_t *results, *sources, *reasons;
	struct part *load;
	bool valid, failed;
};

static bool add_document(struct merge *m, const char *path, const json_t *d)
{
	size_t index;
	json_t *reason;

	if (!add_part(m->load, d))
		return false;
	json_array_foreach(json_object_get(d, "reasons"), index, reason)
		json_array_append_new(m->reasons, json_sprintf("%s: %s", path, json_string_value(reason)));
	m->valid = m->valid && json_is_true(json_object_get(d, "valid"));
	m->failed = m->failed || json_is_true(json_object_get(d, "failed"));
	json_array_append_new(m->sources, json_string(path));
	return true;
}

static bool read_all(struct merge *m, int count, char **paths)
{
	for (int i = 0; i < count; i++) {
		json_error_t error;
		json_t *d = json_load_file(paths[i], 0, &error);
		if (!d) {
			fprintf(stderr, "loadgen: merge: %s: %s\n", paths[i], error.text);
			return false;
		}
		json_array_append_new(m->results, d);
		if (!add_document(m, paths[i], d)) {
			fprintf(stderr, "loadgen: merge: %s: this is not the result of a run that took place\n",
				paths[i]);
			return false;
		}
	}
	return true;
}

static json_t *document(const struct merge *m, enum exit_status status)
{
	json_t *d = json_pack("{si si sb sb sO sO}", "schema", 1, "exit", (int)status, "valid", m->valid,
		"failed", m->failed, "reasons", m->reasons, "merged", m->sources);

	json_object_update_new(d, part_json(m->load, m->load));
	return d;
}

static int merge(struct merge *m, const char *out, int count, char **paths)
{
	if (!m->load || !read_all(m, count, paths))
		return EXIT_USAGE;
	enum exit_status status = !m->valid ? EXIT_INVALID : m->failed ? EXIT_FAILED : EXIT_GOOD;
	json_t *d = document(m, status);
	bool fine = draft_json(out, d);
	if (!fine)
		fprintf(stderr, "loadgen: merge: %s: cannot write it: %s\n", out, strerror(errno));
	json_decref(d);
	return fine ? (int)status : EXIT_FAILED;
}

int merge_main(int argc, char **argv)
{
	const char *out = "-";
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
	struct merge m = {json_array(), json_array(), json_array(), part_new(LOAD, NULL), true, false};
	int status = merge(&m, out, argc - first, argv + first);
	part_free(m.load);
	json_decref(m.results);
	json_decref(m.sources);
	json_decref(m.reasons);
	return status;
}
