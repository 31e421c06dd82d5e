/* tasks: to the kernel a thread and a process are both tasks; making one costs differently.
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says that the kernel makes no difference between
 * a process and a thread.
 *
 * Fifty threads and fifty children, all waiting. Of each, /proc is asked for what a task has: an identity of
 * its own, a state, a count of its own switches. What differs is what they share: threads have their creator's
 * process id (Tgid) and stand in its /proc/self/task, children have their own.
 *
 * Then the price. clone() copies what is not shared, and for fork that includes the page tables, which grow
 * with the memory in use; so each is timed with SMALL_MIB and LARGE_MIB resident, in pages of 4 KiB (median of
 * ROUNDS, the creating call alone).
 *
 * Try: build/probes/tasks (it takes half a GiB of memory for a moment)
 * Takes about 2 s.
 */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EACH = 50,
	ROUNDS = 5,
	SMALL_MIB = 10,
	LARGE_MIB = 500,
};

struct seen { /* tasks of which this is true */
	int identity, state, switches, process_id, listed;
};

static int gate[2]; /* a task waits until this has ended */
static pid_t thread_ids[EACH];

static void *wait_as_thread(void *id)
{
	char end;
	__atomic_store_n((pid_t *)id, gettid(), __ATOMIC_RELEASE);
	return read(gate[0], &end, 1) == 0 ? NULL : id;
}

static bool has_id(void *id)
{
	return __atomic_load_n((pid_t *)id, __ATOMIC_ACQUIRE) != 0;
}

static bool is_listed(pid_t task)
{
	char path[48];
	snprintf(path, sizeof path, "/proc/self/task/%d", task);
	return access(path, F_OK) == 0;
}

static void look_at(struct seen *seen, pid_t task)
{
	if (!probe_asleep(task, 1000))
		probe_fail("task %d does not come to rest", task);
	seen->identity += probe_status(task, "Pid") == task && task != getpid();
	seen->state += probe_state(task) == 'S';
	seen->switches += probe_status(task, "voluntary_ctxt_switches") >= 1;
	seen->process_id += probe_status(task, "Tgid") == task;
	seen->listed += is_listed(task);
}

static void fact_seen(const char *key, struct seen seen)
{
	facts_open(key);
	fact_int("made", EACH);
	fact_int("with_own_id", seen.identity);
	fact_int("with_own_state", seen.state);
	fact_int("with_own_switches", seen.switches);
	fact_int("with_own_process_id", seen.process_id);
	fact_int("listed_as_our_tasks", seen.listed);
	facts_close();
}

static void show_tasks(void)
{
	struct seen threads = {0}, children = {0};
	pthread_t handles[EACH];
	pid_t ids[EACH];
	must(pipe(gate));
	for (int i = 0; i < EACH; i++) {
		ids[i] = probe_fork(); /* first: a child has a copy of the calling thread alone */
		if (ids[i] == 0) {
			char end;
			close(gate[1]);
			_exit(read(gate[0], &end, 1) == 0 ? 0 : 1);
		}
	}
	for (int i = 0; i < EACH; i++)
		handles[i] = probe_thread(wait_as_thread, &thread_ids[i]);
	for (int i = 0; i < EACH; i++) {
		look_at(&children, ids[i]);
		if (!probe_until(has_id, &thread_ids[i], 1000))
			probe_fail("a thread does not start");
		look_at(&threads, thread_ids[i]);
	}
	close(gate[1]);
	for (int i = 0; i < EACH; i++) {
		pthread_join(handles[i], NULL);
		probe_reap(ids[i]);
	}
	fact_seen("threads", threads);
	fact_seen("children", children);
}

static void *leave(void *unused)
{
	return unused;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double creation_us(bool of_thread)
{
	double took_us[ROUNDS];
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = clock_now_ns();
		if (of_thread) {
			pthread_t thread = probe_thread(leave, NULL);
			took_us[i] = probe_us_since(start);
			pthread_join(thread, NULL);
		} else {
			pid_t child = fork(); /* not probe_fork(): its questions would be timed */
			took_us[i] = probe_us_since(start);
			if (child == 0)
				_exit(0);
			must(child);
			must(waitpid(child, NULL, 0));
		}
	}
	qsort(took_us, ROUNDS, sizeof took_us[0], by_size);
	return took_us[ROUNDS / 2];
}

static void occupy(size_t mib)
{
	size_t size = mib << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		probe_must("mmap");
	must(madvise(memory, size, MADV_NOHUGEPAGE));
	if (madvise(memory, size, MADV_POPULATE_WRITE) != 0) /* since Linux 5.14 */
		memset(memory, 1, size);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"What threads and children have in common as tasks, and what making one costs.");
	show_tasks();
	occupy(SMALL_MIB);
	double thread_small_us = creation_us(true), fork_small_us = creation_us(false);
	occupy(LARGE_MIB - SMALL_MIB);
	double thread_large_us = creation_us(true), fork_large_us = creation_us(false);
	facts_open("creation");
	fact_int("small_mib", SMALL_MIB);
	fact_int("large_mib", LARGE_MIB);
	fact_real("thread_small_us", thread_small_us);
	fact_real("fork_small_us", fork_small_us);
	fact_real("thread_large_us", thread_large_us);
	fact_real("fork_large_us", fork_large_us);
	fact_real("fork_over_thread_small", fork_small_us / thread_small_us);
	fact_real("fork_growth", fork_large_us / fork_small_us);
	fact_real("thread_growth", thread_large_us / thread_small_us);
	facts_close();
	return probe_end();
}
