/* partial_io: all of it, some of it, or EAGAIN.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that a call on a nonblocking descriptor returns at once,
 * with an error where nothing, a partial count where some, and the whole result where all of it could be
 * done.
 *
 * Writing: to a TCP peer that reads nothing, one write of each size and then more of them until the kernel
 * refuses. Below the room in the two socket buffers the first is full, above it partial, and the last answer is
 * always EAGAIN. What "at once" means is in took_us: a write is a copy, and a copy of megabytes takes its time.
 *
 * Reading: 1,000 bytes are there. A read of 4,096 is partial, a read of 600 is full, a read of nothing left is
 * EAGAIN.
 *
 * Try: build/probes/partial_io
 */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	THERE = 1000,
	LARGE_READ = 4096,
	SMALL_READ = 600,
};

static const size_t sizes[] = {1 << 10, 64 << 10, 1 << 20, 16 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static char *bytes; /* as many as the largest */

static const char *kind_of(ssize_t n, size_t asked)
{
	if (n < 0)
		return errno == EAGAIN ? "EAGAIN" : "failed";
	return (size_t)n == asked ? "full" : "partial";
}

static void show_write(size_t size)
{
	char name[24];
	int pair[2], full = 0, partial = 0;
	probe_tcp_pair(pair);
	probe_nonblock(pair[0], true);
	long slept = probe_slept();
	double cpu_us = probe_cpu_us();
	uint64_t start = clock_now_ns();
	ssize_t n = write(pair[0], bytes, size);
	double took_us = probe_us_since(start);
	cpu_us = probe_cpu_us() - cpu_us;
	slept = probe_slept() - slept;
	const char *first = kind_of(n, size);
	size_t taken = 0;
	while (n > 0) {
		full += (size_t)n == size;
		partial += (size_t)n < size;
		taken += (size_t)n;
		n = write(pair[0], bytes, size);
	}
	const char *last = kind_of(n, size);
	snprintf(name, sizeof name, "%zu", size);
	facts_open(name);
	fact_text("first", first);
	fact_real("took_us", took_us);
	fact_real("cpu_us", cpu_us);
	fact_int("slept", slept);
	fact_int("full", full);
	fact_int("partial", partial);
	fact_text("last", last);
	fact_int("taken", (long long)taken);
	facts_close();
	close(pair[0]);
	close(pair[1]);
}

static void show_read(const char *key, int fd, size_t asked)
{
	char buffer[LARGE_READ];
	ssize_t n = read(fd, buffer, asked);
	facts_open(key);
	fact_text("result", kind_of(n, asked));
	fact_int("bytes", n);
	facts_close();
}

static void show_reads(void)
{
	int pair[2];
	probe_tcp_pair(pair);
	probe_nonblock(pair[1], true);
	facts_open("read");
	show_read("of_nothing", pair[1], LARGE_READ);
	probe_write(pair[0], THERE);
	show_read("of_more_than_there_is", pair[1], LARGE_READ);
	probe_write(pair[0], THERE);
	show_read("of_less", pair[1], SMALL_READ);
	show_read("of_the_rest_exactly", pair[1], THERE - SMALL_READ);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "What nonblocking writes and reads of several sizes return.");
	bytes = mmap(NULL, sizes[SIZES - 1], PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		probe_must("mmap");
	facts_open("write");
	for (int i = 0; i < SIZES; i++)
		show_write(sizes[i]);
	facts_close();
	show_reads();
	return probe_end();
}
