#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "distribution.h"
#include "draft.h"
#include "find.h"
#include "report_parts.h"

enum { SCHEMA_VERSION = 1 };

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

double report_per_second(const struct result *r, uint64_t completed)
{
	return r->window_ns ? (double)completed * 1e9 / (double)r->window_ns : 0;
}

double report_rps(const struct result *r, const struct tally *t)
{
	return report_per_second(r, t->completed);
}

double report_cpu_per_request(const struct result *r)
{
	uint64_t sampled_ns = r->after.at_ns - r->before.at_ns, completed = 0;

	for (uint32_t l = 0; l < r->load_count; l++)
		completed += r->loads[l].total.completed;
	if (completed == 0 || sampled_ns == 0)
		return 0;
	/* The samples are taken within microseconds of the window's edges, or later where the CPUs are crowded.
	 */
	double in_window = (double)r->process_cpu_ns * (double)r->window_ns / (double)sampled_ns;
	return in_window / (double)completed;
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *find(const struct find *f, const struct options *o)
{
	json_t *steps = json_array();

	if (!f) {
		json_decref(steps);
		return json_null();
	}
	for (uint32_t i = 0; i < f->count; i++) {
		const struct find_step *s = &f->steps[i];
		json_array_append_new(steps,
			json_pack("{sf sf so sb so}", "rate", s->rate, "achieved_rps", s->achieved_rps,
				"value_ns", s->value_ns == HIST_INFINITE ? json_null() : integer(s->value_ns),
				"met", s->met, "missed", text_or_null(s->missed)));
	}
	return json_pack("{sf sI sf so so}", "quantile", o->find_ppm / 1e6, "limit_ns", (json_int_t)o->find_ns,
		"ceiling_rps", f->ceiling_rps, "best_rate",
		f->best_rate > 0 ? json_real(f->best_rate) : json_null(), "steps", steps);
}

static json_t *client(const struct result *r, const struct judgement *j)
{
	struct tally *t = malloc(sizeof(*t));
	json_t *threads = json_array();

	if (!t) {
		json_decref(threads);
		return json_null();
	}
	tally_init(t, 0);
	for (uint32_t l = 0; l < r->load_count; l++)
		tally_add(t, &r->loads[l].total);

	for (uint32_t i = 0; i < r->thread_count; i++) {
		const struct thread_result *one = &r->threads[i];
		json_array_append_new(threads,
			json_pack("{so sI sf}", "cpu", one->cpu < 0 ? json_null() : json_integer(one->cpu),
				"cpu_ns", (json_int_t)one->cpu_ns, "busy", one->busy));
	}
	json_t *d = json_pack("{sI sI so sf so sI sI sI sI sI sf}", "cpu_ns", (json_int_t)r->process_cpu_ns,
		"window_ns", (json_int_t)(r->after.at_ns - r->before.at_ns), "cpu_ns_per_req",
		t->completed ? json_real(report_cpu_per_request(r)) : json_null(), "busy", j->client_busy,
		"threads", threads, "waits", (json_int_t)t->waits, "events", (json_int_t)t->events, "receives",
		(json_int_t)t->receives, "sends", (json_int_t)t->sends, "send_blocked",
		(json_int_t)t->send_blocked, "clock_ns", r->clock_cost_ns);
	free(t);
	return d;
}

static json_t *moment(uint64_t at_ns, const struct result *r)
{
	return at_ns ? json_integer((json_int_t)(at_ns - r->window_start_ns)) : json_null();
}

static json_t *events(const struct result *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->event_count; i++) {
		const struct event_result *e = &r->events[i];
		json_array_append_new(
			list, json_pack("{ss sI so so so so}", "kind", "pause", "pid", (json_int_t)e->pid,
				      "planned_ns", moment(e->planned_ns, r), "from_ns", moment(e->from_ns, r),
				      "until_ns", moment(e->until_ns, r), "error",
				      e->error ? json_string(strerror(e->error)) : json_null()));
	}
	return list;
}

/* "reset 3, timeout 1" */
static void list_outcomes(const uint64_t *a, const uint64_t *b, int first, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (int i = first; i < OUTCOME_COUNT && used < size; i++) {
		uint64_t n = a[i] + (b ? b[i] : 0);
		if (n)
			used += (size_t)snprintf(out + used, size - used, "%s%s %" PRIu64, used ? ", " : "",
				outcome_names[i], n);
	}
}

/* What failed in one load. */
static void add_load_failures(json_t *list, const struct load *load, const char *who)
{
	const struct tally *t = &load->total;
	char ends[512];

	list_outcomes(t->outcomes, t->outside, OUTCOME_FIRST_ERROR, ends, sizeof(ends));
	if (ends[0])
		json_array_append_new(
			list, json_sprintf("failed: %srequests ended as %s (warm-up included)", who, ends));
	list_outcomes(t->connects.failed, t->idle_connects.failed, 0, ends, sizeof(ends));
	if (ends[0])
		json_array_append_new(list, json_sprintf("failed: %sconnects ended as %s", who, ends));
	if (t->idle_connects.replaced)
		json_array_append_new(
			list, json_sprintf("failed: %s%llu idle connections were lost and replaced", who,
				      (unsigned long long)t->idle_connects.replaced));
	if (t->unsolicited)
		json_array_append_new(
			list, json_sprintf("failed: %sbytes that nobody had asked for came on %llu connections",
				      who, (unsigned long long)t->unsolicited));
	if (t->outcomes[OUTCOME_OK] == 0)
		json_array_append_new(
			list, json_sprintf("failed: %snot one request of the window was answered", who));
}

static void add_failures(json_t *list, const struct result *r)
{
	char who[64] = "";

	if (r->find && r->find->best_rate <= 0)
		json_array_append_new(list, json_string("failed: no rate met the objective of --find-rate"));
	for (uint32_t l = 0; r->started && l < r->load_count; l++) {
		if (l > 0)
			snprintf(who, sizeof(who), "population %s: ", r->loads[l].options->name);
		add_load_failures(list, &r->loads[l], who);
	}
}

/* Why the run is not valid, and what failed. */
static json_t *reasons(const struct judgement *j, const struct result *r)
{
	json_t *list = json_array();

	if (r->failure[0])
		json_array_append_new(list, json_sprintf("start: %s", r->failure));
	for (unsigned i = 0; i < j->check_count; i++) {
		if (!j->checks[i].kept)
			json_array_append_new(
				list, json_sprintf("%s: %s", j->checks[i].name, j->checks[i].text));
	}
	if (j->failed)
		add_failures(list, r);
	return list;
}

static json_t *checks(const struct judgement *j)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < j->check_count; i++) {
		const struct check *c = &j->checks[i];
		json_array_append_new(list, json_pack("{ss sf sf sb ss}", "name", c->name, "value", c->value,
						    "limit", c->limit, "kept", c->kept, "text", c->text));
	}
	return list;
}

static json_t *document(const struct options *o, const struct result *r, const struct judgement *j,
	const struct expected *expected)
{
	json_t *d = json_pack("{si si sb sb sb so so ss}", "schema", SCHEMA_VERSION, "exit", (int)j->status,
		"valid", j->valid, "failed", j->failed, "interrupted", r->interrupted, "reasons", reasons(j, r),
		"checks", checks(j), "bound", j->bound);

	json_object_set_new(d, "window_ns", integer(r->window_ns));
	json_object_update_new(d, report_load_json(&r->loads[0], r, &expected[0]));
	json_object_set_new(d, "populations", report_populations_json(r, expected));
	json_object_set_new(d, "hiccup_ns", distribution_json(&r->hiccups, 0));
	json_object_set_new(d, "find_rate", find(r->find, o));
	json_object_set_new(d, "client", client(r, j));
	json_object_set_new(d, "watch", host_watch_json(o, &r->before, &r->after));
	json_object_set_new(d, "host", host_cpus_json(&r->before, &r->after));
	json_object_set_new(d, "phase_ns",
		json_pack("{sI sI sI sI}", "connect", (json_int_t)r->connect_ns, "warmup",
			(json_int_t)r->warmup_ns, "measure", (json_int_t)r->window_ns, "drain",
			(json_int_t)r->drain_ns));
	json_object_set_new(d, "events", events(r));
	json_object_set_new(d, "env", host_env_json());
	return d;
}

/* Frees the document. */
static bool write_document(const char *path, json_t *d, char *why, size_t why_size)
{
	bool fine = draft_json(path, d);

	if (!fine)
		snprintf(why, why_size, "--json %s: cannot write it: %s", path, strerror(errno));
	json_decref(d);
	return fine;
}

bool report_json(const char *path, const struct options *o, const struct result *r, const struct judgement *j,
	const struct expected *expected, char *why, size_t why_size)
{
	return write_document(path, document(o, r, j, expected), why, why_size);
}

bool report_json_error(const char *path, enum exit_status status, const char *error, char *why, size_t why_size)
{
	json_t *d = json_pack("{si si sb sb s[s] ss}", "schema", SCHEMA_VERSION, "exit", (int)status, "valid",
		0, "failed", 1, "reasons", error, "error", error);
	return write_document(path, d, why, why_size);
}
