#include "conduct.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* How often the end of the drain is looked for. */
static const uint64_t DRAIN_LOOK_NS = NS_PER_MS;

/* Threads of watched processes are looked at this long before the window begins, or halfway through a shorter
 * warm-up. */
static const uint64_t PREPARE_NS = 50 * NS_PER_MS;

/* A tick of the timeline waits a little, so that the workers have published their second. */
static const uint64_t TICK_DELAY_NS = 50 * NS_PER_MS;

bool conduct_sleep(uint64_t until_ns)
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

static void sample_edge(
	const struct stage *s, struct host_sample *sample, uint64_t *process_cpu_ns, uint64_t *cpu_ns)
{
	host_sample_clocks(sample, s->run.options);
	*process_cpu_ns = clock_cpu(CLOCK_PROCESS_CPUTIME_ID);
	for (uint32_t i = 0; i < s->count; i++) {
		clockid_t clock;
		cpu_ns[i] = pthread_getcpuclockid(s->workers[i].thread, &clock) == 0 ? clock_cpu(clock) : 0;
	}
}

static void tell(struct stage *s, uint64_t now)
{
	struct interval *sum = malloc(sizeof(*sum));

	if (!sum)
		return;
	interval_init(sum);
	for (uint32_t i = 0; i < s->count; i++)
		interval_take(s->workers[i].box, sum);
	timeline_tell(s->timeline, sum, now, s->run.window_end_ns);
	free(sum);
}

static void send_event(struct event_result *e, bool resume)
{
	int failed = kill((pid_t)e->pid, resume ? SIGCONT : SIGSTOP) < 0 ? errno : 0;

	if (failed && !e->error)
		e->error = failed;
	if (resume)
		e->until_ns = clock_now();
	else
		e->from_ns = clock_now();
}

/* Stops and resumes processes as planned. Returns when the next one is due. `over`: nothing may stay stopped.
 */
static uint64_t do_events(struct result *r, uint64_t now, bool over)
{
	uint64_t next_ns = CLOCK_NEVER;

	for (uint32_t i = 0; i < r->event_count; i++) {
		struct event_result *e = &r->events[i];
		if (!e->from_ns && !over && now >= e->planned_ns)
			send_event(e, false);
		uint64_t resume_ns = e->from_ns + e->length_ns;
		if (e->from_ns && !e->until_ns && (over || now >= resume_ns))
			send_event(e, true);
		uint64_t due_ns = !e->from_ns ? e->planned_ns : !e->until_ns ? resume_ns : CLOCK_NEVER;
		next_ns = due_ns < next_ns ? due_ns : next_ns;
	}
	return next_ns;
}

static void interrupt(struct stage *s, struct result *r)
{
	uint64_t now = clock_now(), drain_ns = s->run.options->drain_ns;

	/* A second signal ends the drain. */
	if (r->interrupted)
		drain_ns = 0;
	else /* never before the run has begun, which it does a moment from its release */
		atomic_store(&s->run.window_end_ns, now > s->run.start_ns ? now : s->run.start_ns);
	r->interrupted = true;
	atomic_store(&s->run.drain_end_ns, now + drain_ns);
}

static void plan_events(struct stage *s, struct result *r)
{
	const struct options *o = s->run.options;

	for (uint32_t i = 0; i < o->pause_count; i++)
		r->events[r->event_count++] = (struct event_result){.pid = o->pauses[i].pid,
			.planned_ns = s->run.window_start_ns + o->pauses[i].at_ns,
			.length_ns = o->pauses[i].length_ns};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Where the main thread stands in a run. */
struct progress {
	uint64_t window_start_ns, prepare_ns, tick_ns;
	uint64_t cpu_start_ns, cpu_end_ns; /* of the whole process */
	bool wanted;                       /* somebody wants to be told */
	bool prepared, begun, ended;
};

/* The edges of the window that have come. */
static void do_edges(struct stage *s, struct result *r, struct progress *p, uint64_t now)
{
	const struct options *o = s->run.options;

	if (!p->prepared && (now >= p->prepare_ns || r->interrupted)) {
		host_sample_threads(&r->before, o);
		p->prepared = true;
	}
	if (!p->begun && (now >= p->window_start_ns || r->interrupted)) {
		sample_edge(s, &r->before, &p->cpu_start_ns, s->cpu_before);
		p->begun = true;
	}
	if (!p->ended && now >= s->run.window_end_ns) {
		sample_edge(s, &r->after, &p->cpu_end_ns, s->cpu_after);
		host_sample_threads(&r->after, o);
		p->ended = true;
	}
}

static uint64_t next_edge(const struct stage *s, const struct progress *p, uint64_t now)
{
	if (!p->prepared)
		return p->prepare_ns;
	if (!p->begun)
		return p->window_start_ns;
	return p->ended ? now + DRAIN_LOOK_NS : s->run.window_end_ns;
}

/* This thread sleeps but for a few moments that it must not miss, and may share a CPU with a worker that never
 * does: there it has to come first. Without the right to that (CAP_SYS_NICE or RLIMIT_RTPRIO) it is one thread
 * among others. */
static void come_first(bool first)
{
	sched_setscheduler(0, first ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER,
		&(struct sched_param){.sched_priority = first});
}

void conduct(struct stage *s, struct result *r)
{
	uint64_t warmup_ns = s->run.window_start_ns - s->run.start_ns;
	struct progress p = {.window_start_ns = s->run.window_start_ns,
		.prepare_ns = s->run.window_start_ns - least(PREPARE_NS, warmup_ns / 2),
		.tick_ns = s->run.start_ns + NS_PER_S,
		.wanted = timeline_wanted(s->timeline)};

	plan_events(s, r);
	come_first(true);
	while (atomic_load(&s->finished) < s->count) {
		uint64_t now = clock_now();
		do_edges(s, r, &p, now);
		uint64_t next_ns = least(do_events(r, now, p.ended), next_edge(s, &p, now));
		if (p.wanted && now >= p.tick_ns + TICK_DELAY_NS) {
			tell(s, p.tick_ns);
			p.tick_ns += NS_PER_S;
		}
		if (p.wanted)
			next_ns = least(next_ns, p.tick_ns + TICK_DELAY_NS);
		if (conduct_sleep(next_ns))
			interrupt(s, r);
	}
	/* The workers may be through before this thread has seen the end of the window. */
	do_edges(s, r, &p, CLOCK_NEVER);
	do_events(r, clock_now(), true);
	come_first(false);
	r->process_cpu_ns = p.cpu_end_ns - p.cpu_start_ns;
}
