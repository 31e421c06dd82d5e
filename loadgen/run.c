#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conduct.h"
#include "engine.h"
#include "expected.h"
#include "flow.h"

/* From the moment all connections stand to the first request: lets every thread reach its loop. */
static const uint64_t START_DELAY_NS = 2 * NS_PER_MS;

static const struct engine *const engines[] = {
	[ENGINE_EPOLL] = &engine_epoll, [ENGINE_IO_URING] = &engine_uring};

static int next_cpu(const struct options *o, int after)
{
	do
		after = (after + 1) % CPU_SETSIZE;
	while (!CPU_ISSET((size_t)after, &o->cpus));
	return after;
}

/* Worker `index` of the `count` that share the connections of one load. */
static bool set_up_worker(
	struct stage *s, struct worker *w, const struct load *load, uint32_t index, uint32_t *next_id)
{
	const struct options *o = load->options;
	uint64_t count = o->threads;
	uint32_t active = (uint32_t)(o->connections / count + (index < o->connections % count));
	uint32_t idle = (uint32_t)(o->idle / count + (index < o->idle % count));

	w->run = &s->run;
	w->options = o;
	w->load = (uint32_t)(load - s->loads);
	w->stream = (uint32_t)(w - s->workers) + 1;
	w->engine = engines[o->engine];
	w->index = index;
	hist_init(&w->hiccups);
	chooser_init(&w->chooser, o, w->stream);
	if (timeline_wanted(s->timeline) && !(w->box = interval_box_new(NS_PER_S)))
		return false;
	if (!tally_init(&w->tally, o->class_count) ||
		!proto_init(&w->proto, o, s->run.payload, &s->run.expected[w->load * MAX_CLASSES]) ||
		!flow_init(w, *next_id, active, idle))
		return false;
	*next_id += active + idle;
	return true;
}

/* Deals connections, CPUs and the identity of payloads out to the workers of all loads. */
static bool set_up_workers(struct stage *s, uint32_t load_count)
{
	struct worker *w = s->workers;
	uint32_t next_id = 0;
	int cpu = -1;

	for (uint32_t l = 0; l < load_count; l++) {
		for (uint32_t i = 0; i < s->loads[l].options->threads; i++, w++) {
			w->cpu = s->run.options->cpus_text ? cpu = next_cpu(s->run.options, cpu) : -1;
			if (!set_up_worker(s, w, &s->loads[l], i, &next_id))
				return false;
		}
	}
	return true;
}

/* Waits until every worker has its connections, or one has given up. True: interrupted. */
static bool await_ready(struct stage *s)
{
	bool interrupted = false;

	for (;;) {
		pthread_mutex_lock(&s->lock);
		bool all = s->ready == s->count;
		pthread_mutex_unlock(&s->lock);
		if (all || interrupted)
			return interrupted;
		interrupted = conduct_sleep(clock_now() + NS_PER_MS);
		if (interrupted)
			for (uint32_t i = 0; i < s->count; i++)
				atomic_store(&s->workers[i].cancelled, true);
	}
}

static bool all_stand(struct stage *s, struct result *r)
{
	for (uint32_t i = 0; i < s->count; i++) {
		const struct worker *w = &s->workers[i];
		if (w->failed) {
			snprintf(r->failure, sizeof(r->failure), "%s: %s: %s", w->failed,
				s->run.options->target, strerror(w->failed_errno));
			return false;
		}
	}
	return true;
}

/* The share of the window that thread w had work. A spinning thread always burns its CPU; it knows its idle
 * time itself. */
static double busy_share(const struct worker *w, uint64_t cpu_ns, uint64_t sampled_ns, uint64_t window_ns)
{
	if (w->options->wait == WAIT_SPIN) {
		uint64_t idle_ns = w->tally.idle_ns < window_ns ? w->tally.idle_ns : window_ns;
		return window_ns ? 1 - (double)idle_ns / (double)window_ns : 0;
	}
	return sampled_ns ? (double)cpu_ns / (double)sampled_ns : 0;
}

static void collect(struct stage *s, struct result *r)
{
	uint64_t sampled_ns = r->after.at_ns - r->before.at_ns;

	hist_init(&r->hiccups);
	for (uint32_t i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		uint64_t cpu_ns = s->cpu_after[i] - s->cpu_before[i];
		tally_add(&r->loads[w->load].total, &w->tally);
		hist_add(&r->hiccups, &w->hiccups);
		r->threads[i].cpu = w->cpu;
		r->threads[i].cpu_ns = cpu_ns;
		r->threads[i].busy = busy_share(w, cpu_ns, sampled_ns, r->window_ns);
	}
}

static void plan_phases(struct run *run)
{
	const struct options *o = run->options;

	run->start_ns = clock_now() + START_DELAY_NS;
	run->window_start_ns = run->start_ns + o->warmup_ns;
	run->window_end_ns = run->window_start_ns + o->duration_ns;
	run->drain_end_ns = run->window_end_ns + o->drain_ns;
}

static void measure_phases(const struct stage *s, struct result *r, uint64_t over_ns)
{
	uint64_t end_ns = s->run.window_end_ns, start_ns = s->run.window_start_ns;

	r->start_ns = s->run.start_ns;
	r->window_start_ns = start_ns;
	r->warmup_ns = (end_ns < start_ns ? end_ns : start_ns) - s->run.start_ns;
	r->window_ns = end_ns > start_ns ? end_ns - start_ns : 0;
	r->drain_ns = over_ns > end_ns ? over_ns - end_ns : 0;
}

/* The last part of the timeline, which no tick has told. */
static void tell_the_rest(struct stage *s, uint64_t now)
{
	struct interval *rest = malloc(sizeof(*rest));

	if (!rest)
		return;
	interval_init(rest);
	for (uint32_t i = 0; i < s->count; i++) {
		interval_publish(s->workers[i].box, now);
		interval_take(s->workers[i].box, rest);
	}
	timeline_tell(s->timeline, rest, now, s->run.window_end_ns);
	free(rest);
}

static void release(struct stage *s, bool cancelled)
{
	pthread_mutex_lock(&s->lock);
	s->cancelled = cancelled;
	s->go = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Lets the workers end: their CPU clocks, which end with them, have been read. */
static void dismiss(struct stage *s, uint32_t started)
{
	pthread_mutex_lock(&s->lock);
	s->sampled = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (uint32_t i = 0; i < started; i++)
		pthread_join(s->workers[i].thread, NULL);
}

static bool start_threads(struct stage *s, struct worker_argument *arguments)
{
	for (uint32_t i = 0; i < s->count; i++) {
		arguments[i] = (struct worker_argument){s, &s->workers[i]};
		if (pthread_create(&s->workers[i].thread, NULL, worker_main, &arguments[i]) == 0)
			continue;
		release(s, true);
		dismiss(s, i);
		return false;
	}
	return true;
}

static bool run_stage(struct stage *s, struct result *r, struct worker_argument *arguments)
{
	uint64_t begun_ns = clock_now();

	if (!start_threads(s, arguments))
		return false;
	r->interrupted = await_ready(s);
	r->started = !r->interrupted && all_stand(s, r);
	r->connect_ns = clock_now() - begun_ns - s->run.options->probe_ns;
	plan_phases(&s->run);
	s->timeline->start_ns = s->timeline->last_ns = s->run.start_ns;
	s->timeline->window_start_ns = s->run.window_start_ns;
	s->timeline->run_end_ns = s->run.window_end_ns;
	release(s, !r->started);
	if (r->started)
		conduct(s, r);
	dismiss(s, s->count);
	uint64_t over_ns = clock_now();
	if (r->started && timeline_wanted(s->timeline))
		tell_the_rest(s, over_ns);
	if (r->started)
		measure_phases(s, r, over_ns);
	collect(s, r);
	for (uint32_t l = 0; l < r->load_count; l++)
		fairness_measure(
			&r->loads[l].fairness, r->loads[l].options->connections, s->workers, s->count, l);
	return true;
}

static void tear_down(struct stage *s)
{
	for (uint32_t i = 0; s->workers && i < s->count; i++) {
		struct worker *w = &s->workers[i];
		flow_fini(w);
		proto_fini(&w->proto);
		tally_fini(&w->tally);
	}
	free(s->workers);
	free(s->cpu_before);
	free(s->cpu_after);
}

static bool set_up_loads(struct result *r, const struct options *o)
{
	r->loads = calloc(1 + o->population_count, sizeof(*r->loads));
	if (!r->loads)
		return false;
	r->load_count = 1 + o->population_count;
	for (uint32_t l = 0; l < r->load_count; l++) {
		struct load *load = &r->loads[l];
		load->options = l == 0 ? o : o->populations[l - 1];
		if (!tally_init(&load->total, load->options->class_count))
			return false;
		if (load->options->mode == MODE_OPEN)
			load->target_rps =
				profile_requests(&load->options->rate) * 1e9 / (double)o->duration_ns;
	}
	return true;
}

static uint32_t count_threads(const struct result *r)
{
	uint32_t count = 0;

	for (uint32_t l = 0; l < r->load_count; l++)
		count += (uint32_t)r->loads[l].options->threads;
	return count;
}

bool run_load(const struct options *o, const struct target *target, const struct expected *expected,
	struct timeline *timeline, struct result *r, char *why, size_t why_size)
{
	memset(r, 0, sizeof(*r));
	bool fine = set_up_loads(r, o);
	uint32_t count = fine ? count_threads(r) : 1;
	struct payload *payload = malloc(sizeof(*payload));
	struct worker_argument *arguments = calloc(count, sizeof(*arguments));
	struct stage s = {.run = {.options = o, .target = target, .payload = payload, .expected = expected},
		.count = count,
		.loads = r->loads,
		.timeline = timeline,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER};

	s.workers = calloc(count, sizeof(*s.workers));
	s.cpu_before = calloc(count, sizeof(*s.cpu_before));
	s.cpu_after = calloc(count, sizeof(*s.cpu_after));
	r->threads = calloc(count, sizeof(*r->threads));
	r->thread_count = count;
	r->clock_cost_ns = clock_cost_ns();
	fine = fine && payload && arguments && s.workers && s.cpu_before && s.cpu_after && r->threads;
	if (fine)
		payload_init(payload, o->seed);
	fine = fine && set_up_workers(&s, r->load_count) && run_stage(&s, r, arguments);
	if (!fine)
		options_wrong(why, why_size,
			"not enough memory or threads for --connections %llu --threads %llu",
			(unsigned long long)o->connections, (unsigned long long)o->threads);
	tear_down(&s);
	free(payload);
	free(arguments);
	return fine;
}

void run_free(struct result *r)
{
	for (uint32_t l = 0; r->loads && l < r->load_count; l++)
		tally_fini(&r->loads[l].total);
	free(r->threads);
	free(r->loads);
	r->threads = NULL;
	r->loads = NULL;
}
