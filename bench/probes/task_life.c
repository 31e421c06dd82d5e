/* task_life: a task that waits is suspended, and a task that has ended stays until it is asked for.
 *
 * In the life of a task as "How Does Async / Non-Blocking IO Actually Work?" (2025) tells it, the kernel
 * suspends a task for as long as the I/O takes that it asked for; and when it has ended, it is a zombie
 * until its parent has read its exit status.
 *
 * The kernel counts how often a task gave up the CPU of its own accord, by waiting (getrusage: ru_nvcsw). A
 * blocking read of bytes that are there already costs none; a read of bytes that come later costs one. The
 * other side writes only when /proc says that the reader sleeps, so that the result does not hang on who is
 * faster.
 *
 * Then a child's life as /proc tells it: it computes (R), it waits for a byte (S), it has ended and nobody has
 * asked for its exit status (Z, for as long as nobody does), it was reaped and is gone.
 *
 * Try: build/probes/task_life
 */
#include "probe.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READS = 200 };

static int reader_fd, writer_fd;
static pid_t reader;

static void read_all(const char *key)
{
	char byte;
	long slept = probe_slept();
	for (int i = 0; i < READS; i++)
		must(read(reader_fd, &byte, 1));
	slept = probe_slept() - slept;
	facts_open(key);
	fact_int("reads", READS);
	fact_int("slept", slept);
	fact_real("slept_per_read", (double)slept / READS);
	facts_close();
}

static bool is_taken(void *unused)
{
	(void)unused;
	return probe_unread(reader_fd) == 0;
}

/* The reader does nothing but read: where it sleeps, it sleeps in a read. Only when it has taken a byte can the
 * next sleep be another one. */
static void *write_late(void *unused)
{
	for (int i = 0; i < READS; i++) {
		if (!probe_asleep(reader, 1000))
			probe_fail("the reader does not come to rest");
		must(write(writer_fd, "", 1));
		if (!probe_until(is_taken, NULL, 1000))
			probe_fail("the reader does not take what came");
	}
	return unused;
}

static void show_suspension(void)
{
	int pair[2];
	probe_tcp_pair(pair);
	reader_fd = pair[0];
	writer_fd = pair[1];
	reader = gettid();
	probe_write(writer_fd, READS);
	if (probe_unread(reader_fd) != READS)
		probe_fail("bytes over loopback have not arrived with the write");
	read_all("data_there_before");

	pthread_t writer = probe_thread(write_late, NULL);
	read_all("data_comes_later");
	pthread_join(writer, NULL);
}

static void fact_state(const char *key, pid_t task)
{
	fact_text(key, (char[]){probe_state(task), '\0'});
}

static bool is_zombie(void *task)
{
	return probe_state(*(pid_t *)task) == 'Z';
}

static void show_life(void)
{
	int ends[2];
	must(pipe(ends));
	atomic_bool *go_on =
		mmap(NULL, sizeof *go_on, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (go_on == MAP_FAILED)
		probe_must("mmap");
	pid_t child = probe_fork();
	if (child == 0) {
		char byte;
		while (!atomic_load(go_on))
			continue;
		_exit(read(ends[0], &byte, 1) == 1 ? 7 : 1);
	}
	facts_open("states");
	fact_state("computing", child);
	atomic_store(go_on, true);
	if (!probe_asleep(child, 1000))
		probe_fail("a child that reads an empty pipe does not sleep");
	fact_state("waiting", child);
	must(write(ends[1], "", 1));
	if (!probe_until(is_zombie, &child, 1000))
		probe_fail("a child that left is no zombie");
	probe_sleep_ms(100);
	fact_state("ended_100_ms_ago", child);
	fact_bool("a_signal_still_finds_it", kill(child, 0) == 0);
	int status = probe_reap(child);
	fact_state("reaped", child); /* '?': there is no such task */
	fact_int("exit_status", WEXITSTATUS(status));
	facts_close();
	munmap(go_on, sizeof *go_on);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How often a blocking read is suspended, and a task's states up to the zombie.");
	show_suspension();
	show_life();
	return probe_end();
}
