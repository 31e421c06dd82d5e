/* The thread of a worker: it connects, meets the others, drives its connections through the phases, and waits
 * to be dismissed. */
#include "worker.h"

#include <sys/prctl.h>

#include "clock.h"
#include "conduct.h"
#include "engine.h"
#include "flow.h"
#include "hiccup.h"

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

static void await_sampled(struct stage *s)
{
	pthread_mutex_lock(&s->lock);
	while (!s->sampled)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static bool is_over(const struct worker *w, uint64_t now)
{
	if (now < atomic_load_explicit(&w->run->window_end_ns, memory_order_relaxed))
		return false;
	return flow_drained(w) || now >= atomic_load_explicit(&w->run->drain_end_ns, memory_order_relaxed);
}

static void stand_up(struct worker *w)
{
	const struct options *o = w->options;

	if (o->probe_ns)
		hiccup_probe(&w->hiccups, o->probe_ns, o->wait == WAIT_SPIN);
	if (w->engine->init(w) != 0)
		return;
	while (!flow_all_up(w) && !w->failed && !atomic_load_explicit(&w->cancelled, memory_order_relaxed))
		step(w);
}

static void plan_arrivals(struct worker *w)
{
	const struct options *o = w->options;
	struct share share = {(double)w->active_count / (double)o->connections, w->index, (uint32_t)o->threads};
	struct arrivals arrivals = {o->arrival == ARRIVAL_POISSON, o->seed, w->stream};

	schedule_init(&w->schedule, &o->rate, w->run->start_ns, o->warmup_ns, share, arrivals);
}

void *worker_main(void *argument)
{
	struct stage *s = ((struct worker_argument *)argument)->stage;
	struct worker *w = ((struct worker_argument *)argument)->worker;
	const struct options *o = w->options;

	pin(w);
	/* The kernel rounds waits up to 50 us to save power; the schedule wants the nanosecond. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	stand_up(w);
	if (meet(s)) {
		if (o->mode == MODE_OPEN)
			plan_arrivals(w);
		while (clock_now() < s->run.start_ns)
			w->engine->wait(w, s->run.start_ns);
		flow_start(w);
		while (!is_over(w, clock_now()))
			step(w);
	}
	if (w->engine_state)
		flow_finish(w);
	w->engine->fini(w);
	atomic_fetch_add(&s->finished, 1);
	/* A thread's CPU clock ends with it, and the main thread may not have read it yet. */
	await_sampled(s);
	return NULL;
}
