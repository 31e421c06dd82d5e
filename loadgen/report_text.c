#include "report.h"

#include <inttypes.h>
#include <math.h>

#include "clock.h"
#include "find.h"
#include "text.h"

static void quantile(FILE *out, const char *name, const struct histogram *h, uint32_t ppm, uint64_t unfinished)
{
	char text[32];
	uint64_t value = hist_quantile(h, ppm, unfinished);

	if (value == HIST_INFINITE)
		fprintf(out, "  %s > %s", name, text_duration((double)h->max, text, sizeof(text)));
	else
		fprintf(out, "  %s %s", name, text_duration((double)value, text, sizeof(text)));
}

static void latencies(FILE *out, const char *title, const struct histogram *h, uint64_t unfinished)
{
	char text[32];

	if (h->n == 0)
		return;
	fprintf(out, "%-17s", title);
	quantile(out, "p50", h, 500000, unfinished);
	quantile(out, "p90", h, 900000, unfinished);
	quantile(out, "p99", h, 990000, unfinished);
	quantile(out, "p99.9", h, 999000, unfinished);
	fprintf(out, "  max %s\n", text_duration((double)h->max, text, sizeof(text)));
}

static void outcomes(FILE *out, const char *title, const uint64_t *counts, int first)
{
	const char *separator = "";

	for (int i = first; i < OUTCOME_COUNT; i++) {
		if (!counts[i])
			continue;
		if (!*separator)
			fprintf(out, "%-17s  ", title);
		fprintf(out, "%s%s %" PRIu64, separator, outcome_names[i], counts[i]);
		separator = ", ";
	}
	if (*separator)
		fputc('\n', out);
}

static void search(FILE *out, const struct find *f, const struct options *o)
{
	char value[32], limit[32];

	if (!f)
		return;
	text_duration((double)o->find_ns, limit, sizeof(limit));
	fprintf(out, "ceiling            %.0f replies/s in closed loop\n", f->ceiling_rps);
	for (uint32_t i = 0; i < f->count; i++) {
		const struct find_step *s = &f->steps[i];
		fprintf(out, "  %10.0f /s  p%g %-9s %s%s\n", s->rate, o->find_ppm / 1e4,
			s->value_ns == HIST_INFINITE ? "never"
						     : text_duration((double)s->value_ns, value, sizeof(value)),
			s->met ? "good" : "missed: ", s->met ? "" : s->missed);
	}
	if (f->best_rate > 0)
		fprintf(out, "highest rate       %.0f /s keeps p%g within %s; that run:\n", f->best_rate,
			o->find_ppm / 1e4, limit);
	else
		fprintf(out, "highest rate       none keeps p%g within %s; the last run:\n", o->find_ppm / 1e4,
			limit);
}

static void verdict(FILE *out, const struct result *r, const struct judgement *j)
{
	if (r->failure[0])
		fprintf(out, "failed: %s\n", r->failure);
	for (unsigned i = 0; i < j->check_count; i++) {
		if (!j->checks[i].kept)
			fprintf(out, "NOT VALID (%s): %s\n", j->checks[i].name, j->checks[i].text);
	}
}

static void describe(FILE *out, const struct options *o, const char *name)
{
	fprintf(out, "%s%s%s %s: %" PRIu64 " connections", name ? "population " : "", name ? name : o->target,
		name ? ":" : "", protocol_names[o->protocol], o->connections);
	if (o->idle)
		fprintf(out, " (+ %" PRIu64 " idle)", o->idle);
	fprintf(out, ", %s loop", mode_names[o->mode]);
	if (o->depth > 1)
		fprintf(out, ", depth %" PRIu64, o->depth);
	if (!name)
		fprintf(out, ", %" PRIu64 " thread%s, %s, %s", o->threads, o->threads == 1 ? "" : "s",
			engine_names[o->engine], wait_names[o->wait]);
	fputc('\n', out);
}

static void class_lines(FILE *out, const struct options *o, const struct kind_tally *k, uint64_t all)
{
	fprintf(out, "class %-11s  %" PRIu64 " requests (%.3g %%), %" PRIu64 " ok\n", o->name, k->scheduled,
		all ? 100 * (double)k->scheduled / (double)all : 0, k->outcomes[OUTCOME_OK]);
	latencies(out, "  intended", &k->intended, k->scheduled - k->outcomes[OUTCOME_OK]);
	latencies(out, "  sent", &k->sent, 0);
	outcomes(out, "  not ok", k->outcomes, OUTCOME_OK + 1);
}

static void load_lines(FILE *out, const struct load *load, const struct result *r)
{
	const struct tally *t = &load->total;

	fprintf(out, "%-17s  %.0f replies/s over %.3f s; %" PRIu64 " requests, %" PRIu64 " ok\n", "throughput",
		report_rps(r, t), (double)r->window_ns / 1e9, t->scheduled, t->outcomes[OUTCOME_OK]);
	latencies(out, "latency intended", &t->intended, t->scheduled - t->outcomes[OUTCOME_OK]);
	latencies(out, "latency sent", &t->sent, 0);
	latencies(out, "schedule lag", &t->lag, 0);
	latencies(out, "generator late", &t->late, 0);
	latencies(out, "connect", &t->connect, 0);
	outcomes(out, "not ok", t->outcomes, OUTCOME_OK + 1);
	outcomes(out, "not ok (warm-up)", t->outside, OUTCOME_OK + 1);
	outcomes(out, "connects failed", t->connects.failed, 0);
	outcomes(out, "idle failed", t->idle_connects.failed, 0);
	if (t->idle_connects.replaced)
		fprintf(out, "%-17s  %" PRIu64 "\n", "idle lost", t->idle_connects.replaced);
	for (uint32_t i = 0; i < t->kind_count; i++)
		class_lines(out, load->options->classes[i], &t->kinds[i], t->scheduled);
	if (t->unsolicited)
		fprintf(out, "%-17s  on %" PRIu64 " connections\n", "unasked bytes", t->unsolicited);
}

void report_text(FILE *out, const struct options *o, const struct result *r, const struct judgement *j)
{
	char per_request[32];

	describe(out, o, NULL);
	if (!r->started) {
		verdict(out, r, j);
		return;
	}
	search(out, r->find, o);
	load_lines(out, &r->loads[0], r);
	for (uint32_t l = 1; l < r->load_count; l++) {
		describe(out, r->loads[l].options, r->loads[l].options->name);
		load_lines(out, &r->loads[l], r);
	}
	fprintf(out, "%-17s  %s of CPU per reply, busiest thread %.0f %%; bound: %s\n", "client",
		text_duration(report_cpu_per_request(r), per_request, sizeof(per_request)),
		100 * j->client_busy, j->bound);
	verdict(out, r, j);
}
