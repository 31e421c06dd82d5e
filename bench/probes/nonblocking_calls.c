/* nonblocking_calls: do read and write with O_NONBLOCK always return immediately?
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says that with O_NONBLOCK a read or write that
 * cannot be completed returns at once.
 *
 * A thousand reads of something empty and writes to something full, on a TCP socket, a pipe and a terminal:
 * each must say EAGAIN, and none may put its caller to sleep (getrusage counts how often that happened, so that
 * a busy host cannot be mistaken for a wait). Then a regular file with O_NONBLOCK whose pages the kernel has
 * been made to forget. It does not say EAGAIN: the flag means nothing to a file, the call sleeps until the disk
 * has answered. preadv2 with RWF_NOWAIT is what does say EAGAIN there.
 *
 * Try: build/probes/nonblocking_calls
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	CALLS = 1000,
	SETTLE_MS = 20,
	CALM_MS = 300,
	PAGE = 4096,
	PAGES = 64,
	STRIDE = 64, /* pages between those that are read: further than the kernel reads ahead at random access
		      */
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Every call is expected to be refused. */
static void show(const char *key, int fd, bool writes)
{
	char byte = 0;
	double took_us[CALLS];
	int refused = 0;
	long slept = probe_slept();
	for (int i = 0; i < CALLS; i++) {
		uint64_t start = clock_now_ns();
		ssize_t n = writes ? write(fd, &byte, 1) : read(fd, &byte, 1);
		took_us[i] = probe_us_since(start);
		refused += n < 0 && errno == EAGAIN;
	}
	slept = probe_slept() - slept;
	qsort(took_us, CALLS, sizeof took_us[0], by_size);
	facts_open(key);
	fact_int("calls", CALLS);
	fact_int("refused", refused);
	fact_int("slept", slept);
	fact_real("p50_us", took_us[CALLS / 2]);
	fact_real("p99_us", took_us[CALLS * 99 / 100]);
	facts_close();
}

/* To the last byte. What a TCP sender hears later makes room once more: a delayed acknowledgement after some 50
 * ms, the answer to a probe of the closed window after 200. So it is full when nothing was taken for CALM_MS.
 */
static void fill_to_the_brim(int fd)
{
	for (int calm_ms = 0; calm_ms < CALM_MS; calm_ms += SETTLE_MS) {
		if (probe_fill(fd) > 0)
			calm_ms = 0;
		while (write(fd, "", 1) == 1)
			calm_ms = 0;
		probe_sleep_ms(SETTLE_MS);
	}
}

static void show_both(const char *kind, int reading_fd, int writing_fd)
{
	probe_nonblock(reading_fd, true);
	probe_nonblock(writing_fd, true);
	facts_open(kind);
	show("read_empty", reading_fd, false);
	fill_to_the_brim(writing_fd);
	show("write_full", writing_fd, true);
	facts_close();
}

static void advise(int fd, int advice)
{
	errno = posix_fadvise(fd, 0, 0, advice);
	if (errno)
		probe_must("posix_fadvise");
}

static void forget_pages(int fd)
{
	must(fsync(fd)); /* only what is on the disk can be forgotten */
	advise(fd, POSIX_FADV_DONTNEED);
	advise(fd, POSIX_FADV_RANDOM);
}

static int pages_in_memory(int fd)
{
	unsigned char there[PAGES * STRIDE];
	void *mapped = mmap(NULL, sizeof there * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		probe_must("mmap");
	must(mincore(mapped, sizeof there * PAGE, there));
	munmap(mapped, sizeof there * PAGE);
	int count = 0;
	for (size_t i = 0; i < sizeof there; i++)
		count += there[i] & 1;
	return count;
}

/* A tmpfs has no other place for its pages: there `forgotten` is 0 and nothing can be learnt. */
static void show_file(void)
{
	char buffer[PAGE];
	struct iovec into = {buffer, sizeof buffer};
	int fd = probe_file(), refused = 0, refused_nowait = 0;
	probe_write(fd, (size_t)PAGES * STRIDE * PAGE);
	forget_pages(fd);
	int forgotten = PAGES * STRIDE - pages_in_memory(fd);
	probe_nonblock(fd, true);
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	for (off_t page = 0; page < PAGES; page++)
		refused += pread(fd, buffer, PAGE, page * STRIDE * PAGE) < 0;
	double took_us = probe_us_since(start);
	slept = probe_slept() - slept;

	forget_pages(fd);
	for (off_t page = 0; page < PAGES; page++)
		refused_nowait +=
			preadv2(fd, &into, 1, page * STRIDE * PAGE, RWF_NOWAIT) < 0 && errno == EAGAIN;
	facts_open("regular_file");
	fact_int("pages", PAGES * STRIDE);
	fact_int("forgotten", forgotten);
	fact_int("reads", PAGES);
	fact_int("refused", refused);
	fact_int("slept", slept);
	fact_real("mean_us", took_us / PAGES);
	fact_int("refused_with_rwf_nowait", refused_nowait);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Whether reads and writes with O_NONBLOCK return at once, files included.");
	int tcp[2], ends[2], master, terminal;
	probe_tcp_pair(tcp);
	must(pipe(ends));
	must(openpty(&master, &terminal, NULL, NULL, NULL));
	show_both("tcp_socket", tcp[0], tcp[1]);
	show_both("pipe", ends[0], ends[1]);
	show_both("terminal", terminal, terminal);
	show_file();
	return probe_end();
}
