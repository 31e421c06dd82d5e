/* context_switch: what does it cost to hand the CPU from one thread to another?
 *
 * Two threads pass a byte to and fro over two pipes, so that at any time one of them sleeps. On one CPU each
 * hand-over is a write, a read that sleeps, and a switch. On two CPUs there is none, strictly: the other CPU is
 * idle and has to be woken, by an interrupt from the first, which a virtual machine pays for with an exit to
 * its host. `us` is half a round trip: a hand-over in one direction, with its two system calls, which are timed
 * alone for comparison (`calls_us`): a byte written and read in one thread, where nobody sleeps.
 * Takes about 0.7 s.
 */
#include "probe.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 100, BATCHES_LEAST = 5, BATCHES_MOST = 31, ENOUGH_US = 500000, ANYWHERE = -1 };

static int there[2], back[2];
static cpu_set_t allowed;

static void pin(int cpu)
{
	cpu_set_t set = allowed;
	if (cpu != ANYWHERE) {
		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
	}
	must(sched_setaffinity(0, sizeof set, &set));
}

/* The n-th CPU that we may run on. */
static int cpu_number(int n)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed) && n-- == 0)
			return cpu;
	probe_skip("needs two CPUs that this process may run on");
}

static void *echo(void *cpu)
{
	char byte;
	pin(*(int *)cpu);
	while (must(read(there[0], &byte, 1)) == 1)
		must(write(back[1], &byte, 1));
	return NULL;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof *values, ascending);
	return values[count / 2];
}

static double hand_over_us(const char *key, int ours, int theirs)
{
	double took_us[BATCHES_MOST];
	int batches = 0;
	char byte = 0;
	pin(ours);
	must(pipe(there));
	must(pipe(back));
	pthread_t other = probe_thread(echo, &theirs);
	long slept = probe_slept();
	uint64_t begin = clock_now_ns();
	while (batches < BATCHES_LEAST || (batches < BATCHES_MOST && probe_us_since(begin) < ENOUGH_US)) {
		uint64_t start = clock_now_ns();
		for (int i = 0; i < ROUNDS; i++) {
			must(write(there[1], &byte, 1));
			must(read(back[0], &byte, 1));
		}
		took_us[batches++] = probe_us_since(start) / (2 * ROUNDS);
	}
	slept = probe_slept() - slept;
	close(there[1]); /* which ends the other */
	pthread_join(other, NULL);
	double us = median(took_us, batches);
	facts_open(key);
	fact_real("us", us);
	fact_real("slept_per_round", (double)slept / (ROUNDS * batches));
	facts_close();
	return us;
}

static double calls_us(int cpu)
{
	double took_us[BATCHES_MOST];
	char byte = 0;
	pin(cpu);
	must(pipe(there));
	for (int batch = 0; batch < BATCHES_MOST; batch++) {
		uint64_t start = clock_now_ns();
		for (int i = 0; i < ROUNDS; i++) {
			must(write(there[1], &byte, 1));
			must(read(there[0], &byte, 1));
		}
		took_us[batch] = probe_us_since(start) / ROUNDS;
	}
	return median(took_us, BATCHES_MOST);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Two threads hand a byte to and fro: on one CPU, on two, and wherever they are put.");
	must(sched_getaffinity(0, sizeof allowed, &allowed));
	int first = cpu_number(0), second = cpu_number(1);
	fact_real("calls_us", calls_us(first));
	double same_us = hand_over_us("same_cpu", first, first);
	double other_us = hand_over_us("two_cpus", first, second);
	double free_us = hand_over_us("not_pinned", ANYWHERE, ANYWHERE);
	fact_real("two_cpus_over_same", other_us / same_us);
	fact_real("not_pinned_over_same", free_us / same_us);
	return probe_end();
}
