/* pool_of_jobs: five equal jobs on a pool of threads. When is each done?
 *
 * Jobs that wait (for a disk, for another server, here: for time) finish in steps: with P threads the k-th is
 * done after ceil(k / P) times its length, and more threads are faster up to the number of jobs. Jobs that
 * compute are bound to the CPUs: with more threads than CPUs all of them run a little at a time, and all finish
 * late together. The times are in lengths of a job. A computing job is over when its thread has had that much
 * CPU, so what else the host does delays it and does not shorten it. It is many times as long as a scheduler's
 * slice, or jobs that should share the CPUs would take turns instead.
 * Takes about 1.9 s.
 */
#include "probe.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JOBS = 5, WAITING_MS = 60, COMPUTING_MS = 300 };

struct job {
	void (*run)(unsigned ms);
	unsigned length_ms;
};

static struct pool {
	pthread_mutex_t lock;
	int taken, done;
	uint64_t start_ns;
	double ended[JOBS]; /* in the order in which they end */
	const struct job *job;
} pool;

static void wait_some(unsigned ms)
{
	probe_sleep_ms(ms);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec used;
	must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used));
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static void compute_some(unsigned ms)
{
	uint64_t end_ns = thread_cpu_ns() + ms * 1000000ULL;
	while (thread_cpu_ns() < end_ns)
		continue;
}

static const struct job waiting = {wait_some, WAITING_MS}, computing = {compute_some, COMPUTING_MS};

static void *work(void *unused)
{
	pthread_mutex_lock(&pool.lock);
	while (pool.taken < JOBS) {
		pool.taken++;
		pthread_mutex_unlock(&pool.lock);
		pool.job->run(pool.job->length_ms);
		pthread_mutex_lock(&pool.lock);
		pool.ended[pool.done++] = probe_us_since(pool.start_ns) / (pool.job->length_ms * 1e3);
	}
	pthread_mutex_unlock(&pool.lock);
	return unused;
}

static void run(int threads, const struct job *job)
{
	pthread_t started[JOBS];
	pool = (struct pool){.lock = PTHREAD_MUTEX_INITIALIZER, .start_ns = clock_now_ns(), .job = job};
	for (int i = 0; i < threads; i++)
		started[i] = probe_thread(work, NULL);
	for (int i = 0; i < threads; i++)
		pthread_join(started[i], NULL);
}

/* How far the times are from the staircase, at most, relative to its steps. */
static double off_staircase(int threads)
{
	double most = 0;
	for (int k = 1; k <= JOBS; k++) {
		double step = (k + threads - 1) / threads, off = pool.ended[k - 1] / step - 1;
		if (off < 0)
			off = -off;
		most = off > most ? off : most;
	}
	return most;
}

static void tell(const char *key, int threads, const struct job *job)
{
	run(threads, job);
	facts_open(key);
	fact_int("threads", threads);
	facts_list("ended");
	for (int i = 0; i < JOBS; i++)
		fact_real(NULL, pool.ended[i]);
	facts_close();
	fact_real("off_staircase", off_staircase(threads));
	fact_real("first_over_last", pool.ended[0] / pool.ended[JOBS - 1]);
	facts_close();
}

int main(int argc, char **argv)
{
	cpu_set_t allowed;
	probe_begin(argc, argv, "",
		"When five equal jobs end on pools of two and of five threads, waiting and computing.");
	must(sched_getaffinity(0, sizeof allowed, &allowed));
	fact_int("cpus", CPU_COUNT(&allowed));
	tell("waiting_pool_of_2", 2, &waiting);
	tell("waiting_pool_of_5", 5, &waiting);
	tell("computing_pool_of_2", 2, &computing);
	tell("computing_pool_of_5", 5, &computing);
	return probe_end();
}
