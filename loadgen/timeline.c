#include "timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "text.h"

bool timeline_open(struct timeline *t, const struct options *o, char *why, size_t why_size)
{
	memset(t, 0, sizeof(*t));
	t->live = !o->quiet && isatty(STDERR_FILENO);
	if (!o->timeline_path)
		return true;
	t->file = fopen(o->timeline_path, "we");
	if (!t->file)
		return options_wrong(why, why_size, "--timeline %s: %s", o->timeline_path, strerror(errno));
	return true;
}

bool timeline_wanted(const struct timeline *t)
{
	return t->file || t->live;
}

static const char *phase_at(const struct timeline *t, uint64_t moment_ns, uint64_t window_end_ns)
{
	if (moment_ns < t->window_start_ns)
		return "warmup";
	return moment_ns < window_end_ns ? "measure" : "drain";
}

static json_t *value_at(const struct histogram *h, uint32_t ppm)
{
	return h->n ? json_integer((json_int_t)hist_quantile(h, ppm, 0)) : json_null();
}

static void write_line(struct timeline *t, const struct interval *i, uint64_t now_ns, const char *phase)
{
	const struct histogram *h = &i->latency;
	json_t *line = json_pack("{sI sI ss sI sI so so so so}", "from_ns",
		(json_int_t)(t->last_ns - t->start_ns), "to_ns", (json_int_t)(now_ns - t->start_ns), "phase",
		phase, "ok", (json_int_t)i->ok, "errors", (json_int_t)i->errors, "p50", value_at(h, 500000),
		"p99", value_at(h, 990000), "p999", value_at(h, 999000), "max",
		h->n ? json_integer((json_int_t)h->max) : json_null());

	json_dumpf(line, t->file, JSON_COMPACT);
	fputc('\n', t->file);
	fflush(t->file); /* so that it can be followed */
	json_decref(line);
}

static void show(struct timeline *t, const struct interval *i, uint64_t now_ns, const char *phase)
{
	double seconds = (double)(now_ns - t->last_ns) / 1e9;
	uint64_t left_ns = t->run_end_ns > now_ns ? t->run_end_ns - now_ns : 0;
	char p50[32] = "-", p99[32] = "-";

	if (i->latency.n) {
		text_duration((double)hist_quantile(&i->latency, 500000, 0), p50, sizeof(p50));
		text_duration((double)hist_quantile(&i->latency, 990000, 0), p99, sizeof(p99));
	}
	fprintf(stderr, "\r\033[K%-8s %.0f replies/s, p50 %s, p99 %s, %" PRIu64 " errors; %.0f s left", phase,
		seconds > 0 ? (double)i->ok / seconds : 0, p50, p99, i->errors, (double)left_ns / 1e9);
	fflush(stderr);
	t->line_open = true;
}

void timeline_tell(struct timeline *t, const struct interval *i, uint64_t now_ns, uint64_t window_end_ns)
{
	const char *phase = phase_at(t, t->last_ns + (now_ns - t->last_ns) / 2, window_end_ns);

	if (t->file)
		write_line(t, i, now_ns, phase);
	if (t->live)
		show(t, i, now_ns, phase);
	t->last_ns = now_ns;
}

bool timeline_close(struct timeline *t, char *why, size_t why_size)
{
	if (t->line_open)
		fprintf(stderr, "\r\033[K");
	if (!t->file)
		return true;
	bool fine = !ferror(t->file);
	fine = fclose(t->file) == 0 && fine;
	if (!fine)
		options_wrong(why, why_size, "--timeline: the file could not be written to its end");
	return fine;
}
