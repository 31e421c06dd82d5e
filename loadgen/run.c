#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "clock.h"
#include "engine.h"
#include "flow.h"

/* From the moment all connections stand to the first request: lets every thread reach its loop. */
static const uint64_t START_DELAY_NS = 2 * NS_PER_MS;

struct stage {
	struct run run;
	struct worker *workers;
	uint32_t count;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t ready; /* workers whose connections stand, or that gave up */
	bool go, cancelled;
};

struct thread_argument {
	struct stage *stage;
	struct worker *worker;
};

/* --- a worker's thread ---------------------------------------------------------------------------------------
 */

static void pin(const struct worker *w)
{
	cpu_set_t one;

	if (w->cpu < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)w->cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void step(struct worker *w)
{
	uint64_t deadline_ns = flow_tick(w, clock_now());
	w->engine->wait(w, deadline_ns);
}

/* Says that this worker stands, and waits until all do. False: the run is off. */
static bool meet(struct stage *s)
{
	pthread_mutex_lock(&s->lock);
	s->ready++;
	pthread_cond_broadcast(&s->changed);
	while (!s->go)
		pthread_cond_wait(&s->changed, &s->lock);
	bool off = s->cancelled;
	pthread_mutex_unlock(&s->lock);
	return !off;
}

static bool is_over(const struct worker *w, uint64_t now)
{
	if (now < atomic_load_explicit(&w->run->window_end_ns, memory_order_relaxed))
		return false;
	return flow_drained(w) || now >= atomic_load_explicit(&w->run->drain_end_ns, memory_order_relaxed);
}

static void *work(void *argument)
{
	struct stage *s = ((struct thread_argument *)argument)->stage;
	struct worker *w = ((struct thread_argument *)argument)->worker;

	pin(w);
	/* The kernel rounds waits up to 50 us to save power; the schedule wants the nanosecond. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	if (w->engine->init(w) == 0) {
		while (!flow_all_up(w) && !w->failed &&
			!atomic_load_explicit(&w->cancelled, memory_order_relaxed))
			step(w);
	}
	if (meet(s)) {
		while (clock_now() < s->run.start_ns)
			w->engine->wait(w, s->run.start_ns);
		flow_start(w, clock_now());
		while (!is_over(w, clock_now()))
			step(w);
	}
	flow_finish(w);
	w->engine->fini(w);
	return NULL;
}

/* --- the main thread
 * ------------------------------------------------------------------------------------------ */

/* Sleeps until `until_ns`. True: a signal asked to end the run. */
static bool sleep_until(uint64_t until_ns)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	for (uint64_t now; (now = clock_now()) < until_ns;) {
		struct timespec left = clock_timespec(until_ns - now);
		if (sigtimedwait(&stop, NULL, &left) > 0)
			return true;
	}
	return false;
}

static uint64_t thread_cpu(const struct worker *w)
{
	clockid_t clock;

	return pthread_getcpuclockid(w->thread, &clock) == 0 ? clock_cpu(clock) : 0;
}

static void sample_edge(
	const struct stage *s, struct host_sample *sample, uint64_t *process_cpu_ns, uint64_t *cpu_ns)
{
	host_sample(sample, s->run.options);
	*process_cpu_ns = clock_cpu(CLOCK_PROCESS_CPUTIME_ID);
	for (uint32_t i = 0; i < s->count; i++)
		cpu_ns[i] = thread_cpu(&s->workers[i]);
}

/* Deals connections, CPUs and the identity of payloads out to the workers. */
static bool set_up_workers(struct stage *s)
{
	const struct options *o = s->run.options;
	uint32_t next_id = 0;
	int cpu = -1;

	for (uint32_t i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		uint32_t active = (uint32_t)(o->connections / s->count + (i < o->connections % s->count));
		uint32_t idle = (uint32_t)(o->idle / s->count + (i < o->idle % s->count));

		*w = (struct worker){
			.run = &s->run, .options = o, .engine = &engine_epoll, .index = i, .cpu = -1};
		tally_init(&w->tally);
		w->proto.ops = &proto_echo;
		w->proto.payload = s->run.payload;
		if (w->proto.ops->init(&w->proto, o) || !flow_init(w, next_id, active, idle))
			return false;
		next_id += active + idle;
		if (o->cpus_text) {
			do
				cpu = (cpu + 1) % CPU_SETSIZE;
			while (!CPU_ISSET((size_t)cpu, &o->cpus));
			w->cpu = cpu;
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
		interrupted = sleep_until(clock_now() + NS_PER_MS);
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

static void release(struct stage *s, bool cancelled)
{
	pthread_mutex_lock(&s->lock);
	s->cancelled = cancelled;
	s->go = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* From the first request to the end of the window. Fills the samples at its edges. */
static void drive(struct stage *s, struct result *r, uint64_t *cpu_before, uint64_t *cpu_after)
{
	uint64_t cpu_start = 0, cpu_end = 0;

	r->interrupted = sleep_until(s->run.window_start_ns);
	sample_edge(s, &r->before, &cpu_start, cpu_before);
	if (!r->interrupted)
		r->interrupted = sleep_until(s->run.window_end_ns);
	if (r->interrupted) {
		uint64_t now = clock_now();
		atomic_store(&s->run.window_end_ns, now);
		atomic_store(&s->run.drain_end_ns, now + s->run.options->drain_ns);
	}
	sample_edge(s, &r->after, &cpu_end, cpu_after);
	r->process_cpu_ns = cpu_end - cpu_start;
}

static void collect(struct stage *s, struct result *r, const uint64_t *cpu_before, const uint64_t *cpu_after)
{
	uint64_t sampled_ns = r->after.at_ns - r->before.at_ns;

	tally_init(&r->total);
	for (uint32_t i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		uint64_t cpu_ns = cpu_after[i] - cpu_before[i], idle_ns = w->tally.idle_ns;
		uint64_t work_ns = cpu_ns > idle_ns ? cpu_ns - idle_ns : 0;
		tally_add(&r->total, &w->tally);
		r->threads[i].cpu = w->cpu;
		r->threads[i].cpu_ns = cpu_ns;
		r->threads[i].busy = sampled_ns ? (double)work_ns / (double)sampled_ns : 0;
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

static bool run_stage(struct stage *s, struct result *r, struct thread_argument *arguments, uint64_t *cpu)
{
	uint64_t begun_ns = clock_now(), *cpu_before = cpu, *cpu_after = cpu + s->count;
	uint32_t started = 0;

	for (; started < s->count; started++) {
		arguments[started] = (struct thread_argument){s, &s->workers[started]};
		if (pthread_create(&s->workers[started].thread, NULL, work, &arguments[started]) != 0)
			return false; /* the others wait in meet(); the process ends with an error message */
	}
	r->interrupted = await_ready(s);
	r->started = !r->interrupted && all_stand(s, r);
	r->connect_ns = clock_now() - begun_ns;
	plan_phases(&s->run);
	release(s, !r->started);
	if (r->started)
		drive(s, r, cpu_before, cpu_after);
	for (uint32_t i = 0; i < s->count; i++)
		pthread_join(s->workers[i].thread, NULL);
	uint64_t over_ns = clock_now();
	collect(s, r, cpu_before, cpu_after);
	if (r->started) {
		uint64_t end_ns = s->run.window_end_ns, start_ns = s->run.window_start_ns;
		r->warmup_ns = (end_ns < start_ns ? end_ns : start_ns) - s->run.start_ns;
		r->window_ns = end_ns > start_ns ? end_ns - start_ns : 0;
		r->drain_ns = over_ns > end_ns ? over_ns - end_ns : 0;
	}
	return true;
}

bool run_load(
	const struct options *o, const struct target *target, struct result *r, char *why, size_t why_size)
{
	uint32_t count = (uint32_t)o->threads;
	struct payload *payload = malloc(sizeof(*payload));
	struct thread_argument *arguments = calloc(count, sizeof(*arguments));
	uint64_t *cpu = calloc(2 * (size_t)count, sizeof(*cpu));
	struct stage s = {.run = {.options = o, .target = target, .payload = payload},
		.count = count,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER};

	memset(r, 0, sizeof(*r));
	s.workers = calloc(count, sizeof(*s.workers));
	r->threads = calloc(count, sizeof(*r->threads));
	r->thread_count = count;
	r->clock_cost_ns = clock_cost_ns();
	bool fine = payload && arguments && cpu && s.workers && r->threads;
	if (fine)
		payload_init(payload, o->seed);
	fine = fine && set_up_workers(&s) && run_stage(&s, r, arguments, cpu);
	if (!fine)
		snprintf(why, why_size, "not enough memory or threads for --connections %llu --threads %llu",
			(unsigned long long)o->connections, (unsigned long long)o->threads);
	for (uint32_t i = 0; s.workers && i < count; i++) {
		flow_fini(&s.workers[i]);
		if (s.workers[i].proto.ops)
			s.workers[i].proto.ops->fini(&s.workers[i].proto);
	}
	free(s.workers);
	free(payload);
	free(arguments);
	free(cpu);
	return fine;
}

void run_free(struct result *r)
{
	free(r->threads);
}
