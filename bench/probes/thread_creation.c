/* thread_creation: what does a thread cost to start, and to keep?
 *
 * pthread_create() maps a stack, which costs an address range and no memory, and clone() makes a task with a
 * kernel stack. The threads of this page do nothing but sleep on one lock. Started in numbers from 1250 to
 * 10000, each number from none: the slope of the logarithm of the time over that of the number is 1 where each
 * thread costs the same, however many there are. What they hold is read from /proc and is memory of the
 * process; the kernel's stacks come on top of it and are seen in the host's KernelStack, which counts
 * everybody's.
 *
 * libraries: m
 * Takes about 1.2 s.
 */
#include "fit.h"
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 4, MOST = 10000, STACK_BYTES = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[MOST];

static void *sleep_on_lock(void *unused)
{
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
	return unused;
}

static long host_kib(const char *field)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "re");
	if (!file)
		probe_fail("/proc/meminfo: %s", strerror(errno));
	while (value < 0 && fgets(line, sizeof line, file))
		if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
			value = strtol(line + strlen(field) + 1, NULL, 10);
	fclose(file);
	return value;
}

/* Microseconds to start so many. They are ended after `then` has looked at them, which may be NULL. */
static double start(int count, void (*then)(int count))
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_mutex_lock(&lock);
	uint64_t begin = clock_now_ns();
	for (int i = 0; i < count; i++) {
		int error = pthread_create(&threads[i], &attributes, sleep_on_lock, NULL);
		if (error)
			probe_skip(
				"thread %d: %s; raise ulimit -u, the cgroup's pids.max or kernel.threads-max",
				i, strerror(error));
	}
	double took_us = probe_us_since(begin);
	if (then)
		then(count);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_attr_destroy(&attributes);
	return took_us;
}

static long resident_before_kib, kernel_before_kib;

static void weigh(int count)
{
	long resident_kib = probe_status(getpid(), "VmRSS") - resident_before_kib;
	long kernel_kib = host_kib("KernelStack") - kernel_before_kib;
	facts_open("at_most");
	fact_int("threads", probe_status(getpid(), "Threads"));
	fact_real("resident_kib_each", (double)resident_kib / count);
	fact_real("kernel_stack_kib_each", (double)kernel_kib / count);
	facts_close();
}

int main(int argc, char **argv)
{
	static const int counts[PLACES] = {1250, 2500, 5000, MOST};
	double took_us[PLACES];
	probe_begin(argc, argv, "", "The time to start up to 10000 threads, and the memory that they hold.");
	start(counts[0], NULL); /* the allocator's arenas and the first pages are not a thread's */
	for (int i = 0; i < PLACES; i++) {
		resident_before_kib = probe_status(getpid(), "VmRSS");
		kernel_before_kib = host_kib("KernelStack");
		took_us[i] = start(counts[i], i == PLACES - 1 ? weigh : NULL);
	}
	fact_real("us_each", took_us[PLACES - 1] / MOST);
	fact_real("slope", fit_slope(counts, took_us, PLACES));
	fact_real("seconds_for_100000_at_this_rate", took_us[PLACES - 1] / MOST / 10);
	return probe_end();
}
