/* What the record says of each load: the main one, and each population; and of each class of its requests. */
#include <jansson.h>

#include "distribution.h"
#include "report_parts.h"

static json_t *by_outcome(const uint64_t *outcomes, int first)
{
	json_t *object = json_object();

	for (int i = first; i < OUTCOME_COUNT; i++) {
		if (outcomes[i])
			json_object_set_new(object, outcome_names[i], json_integer((json_int_t)outcomes[i]));
	}
	return object;
}

/* How the requests of a load, or of one of its classes, ended. */
static json_t *ends(uint64_t scheduled, uint64_t completed, const uint64_t *outcomes, const uint64_t *outside)
{
	uint64_t errors = 0, outside_errors = 0;

	for (int i = OUTCOME_FIRST_ERROR; i < OUTCOME_COUNT; i++) {
		errors += outcomes[i];
		outside_errors += outside[i];
	}
	return json_pack("{sI sI sI sI sI sI sI sI sI}", "scheduled", (json_int_t)scheduled, "ok",
		(json_int_t)outcomes[OUTCOME_OK], "shed", (json_int_t)outcomes[OUTCOME_SHED], "inflight_end",
		(json_int_t)outcomes[OUTCOME_INFLIGHT_END], "never_sent",
		(json_int_t)outcomes[OUTCOME_NEVER_SENT], "errors", (json_int_t)errors, "completed",
		(json_int_t)completed, "warmup_ok", (json_int_t)outside[OUTCOME_OK], "warmup_errors",
		(json_int_t)outside_errors);
}

static json_t *counts(const struct tally *t)
{
	json_t *d = ends(t->scheduled, t->completed, t->outcomes, t->outside);

	json_object_set_new(d, "sent_bytes", json_integer((json_int_t)t->sent_bytes));
	json_object_set_new(d, "received_bytes", json_integer((json_int_t)t->received_bytes));
	return d;
}

static json_t *connects(const struct connect_counts *c)
{
	return json_pack("{sI sI sI sI so}", "attempts", (json_int_t)c->attempts, "established",
		(json_int_t)c->established, "replaced", (json_int_t)c->replaced, "recycled",
		(json_int_t)c->recycled, "failed", by_outcome(c->failed, 0));
}

static json_t *fairness(const struct fairness *f)
{
	return json_pack("{sI sI sI sI sI sf}", "connections", (json_int_t)f->connections, "starved",
		(json_int_t)f->starved, "min", (json_int_t)f->min, "p50", (json_int_t)f->p50, "max",
		(json_int_t)f->max, "jain", f->jain);
}

/* The reply of http that all others were compared with. */
static json_t *learned(const struct options *o, const struct expected *e)
{
	if (o->protocol != PROTOCOL_HTTP)
		return json_null();
	return json_pack("{ss si sI sb ss}", "path", o->path, "status", (int)e->status, "body_bytes",
		(json_int_t)e->body_len, "learned", e->learned, "compared", content_names[e->content]);
}

static json_t *class_json(
	const struct load *load, uint32_t i, const struct result *r, const struct expected *expected)
{
	const struct options *o = load->options->classes[i];
	const struct kind_tally *k = &load->total.kinds[i];
	uint64_t unfinished = load->options->mode == MODE_OPEN ? k->scheduled - k->outcomes[OUTCOME_OK] : 0;
	json_t *d = json_pack("{ss sI}", "name", o->name, "weight", (json_int_t)o->weight);

	json_object_set_new(d, "share",
		load->total.scheduled ? json_real((double)k->scheduled / (double)load->total.scheduled)
				      : json_null());
	json_object_set_new(d, "counts", ends(k->scheduled, k->completed, k->outcomes, k->outside));
	json_object_set_new(d, "errors", by_outcome(k->outcomes, OUTCOME_FIRST_ERROR));
	json_object_set_new(d, "warmup_errors", by_outcome(k->outside, OUTCOME_FIRST_ERROR));
	json_object_set_new(d, "achieved_rps", json_real(report_per_second(r, k->completed)));
	json_object_set_new(d, "latency_intended_ns", distribution_json(&k->intended, unfinished));
	json_object_set_new(d, "latency_sent_ns", distribution_json(&k->sent, 0));
	json_object_set_new(d, "expected", learned(o, expected));
	json_object_set_new(d, "config", options_json(o));
	return d;
}

static json_t *classes(const struct load *load, const struct result *r, const struct expected *expected)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < load->total.kind_count; i++)
		json_array_append_new(list, class_json(load, i, r, &expected[i]));
	return list;
}

/* What is reported of every load alike. */
json_t *report_load_json(const struct load *load, const struct result *r, const struct expected *expected)
{
	const struct options *o = load->options;
	const struct tally *t = &load->total;
	uint64_t unfinished = o->mode == MODE_OPEN ? t->scheduled - t->outcomes[OUTCOME_OK] : 0;
	json_t *d = json_object();

	json_object_set_new(d, "counts", counts(t));
	json_object_set_new(d, "errors", by_outcome(t->outcomes, OUTCOME_FIRST_ERROR));
	json_object_set_new(d, "warmup_errors", by_outcome(t->outside, OUTCOME_FIRST_ERROR));
	json_object_set_new(d, "unsolicited", json_integer((json_int_t)t->unsolicited));
	json_object_set_new(d, "connects", connects(&t->connects));
	json_object_set_new(d, "idle_connects", connects(&t->idle_connects));
	json_object_set_new(d, "achieved_rps", json_real(report_rps(r, t)));
	json_object_set_new(d, "target_rps", load->target_rps > 0 ? json_real(load->target_rps) : json_null());
	json_object_set_new(d, "latency_intended_ns", distribution_json(&t->intended, unfinished));
	json_object_set_new(d, "latency_sent_ns", distribution_json(&t->sent, 0));
	json_object_set_new(d, "schedule_lag_ns", distribution_json(&t->lag, 0));
	json_object_set_new(d, "generator_lag_ns", distribution_json(&t->late, 0));
	json_object_set_new(d, "connect_ns", distribution_json(&t->connect, 0));
	json_object_set_new(d, "fairness", fairness(&load->fairness));
	json_object_set_new(d, "expected", o->class_count ? json_null() : learned(o, expected));
	json_object_set_new(d, "classes", classes(load, r, expected));
	json_object_set_new(d, "config", options_json(o));
	return d;
}

json_t *report_populations_json(const struct result *r, const struct expected *expected)
{
	json_t *list = json_array();

	for (uint32_t l = 1; l < r->load_count; l++) {
		json_t *one = json_pack("{ss}", "name", r->loads[l].options->name);
		json_object_update_new(one, report_load_json(&r->loads[l], r, &expected[l * MAX_CLASSES]));
		json_array_append_new(list, one);
	}
	return list;
}
