/* disk_writes: which writes to a file wait for the disk.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that writes to a disk always pass the kernel's buffer
 * cache, and that they are synchronous only where the file was opened with O_SYNC.
 *
 * A file whose blocks are all there is overwritten in pieces of 4 KiB, in five ways. What counts is how often
 * the writer was put to sleep: a buffered write is a copy and sleeps for nothing, a write that waits for the
 * device sleeps about once. Two sentences are tried: is O_SYNC the only flag that waits (O_DSYNC; O_DIRECT,
 * too), and does everything pass the cache: after a write with O_DIRECT, is the page in memory (mincore)?
 *
 * Not tried: a buffered write beyond the dirty limits, which waits as well, but would stall the whole host with
 * us.
 *
 * Try: build/probes/disk_writes (TMPDIR chooses the disk)
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
	PIECE = 4096,
	PIECES = 64,
	ENOUGH_MS = 600, /* a way that is slower than that has been seen long enough */
};

static const double HALF_THE_WRITES = 0.5; /* sleeps per write from which a way counts as one that waits */

static int file; /* as probe_file() made it: each way opens it anew */
static char *piece;

struct way {
	const char *name;
	int flags;
	bool sync_after;
	double mean_us, slept_per_write;
};

static void forget_cache(void)
{
	must(fsync(file));
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

static int pages_in_memory(void)
{
	unsigned char there[PIECES];
	int count = 0;
	void *mapped = mmap(NULL, PIECES * PIECE, PROT_READ, MAP_SHARED, file, 0);
	if (mapped == MAP_FAILED)
		probe_must("mmap");
	must(mincore(mapped, PIECES * PIECE, there));
	munmap(mapped, PIECES * PIECE);
	for (int i = 0; i < PIECES; i++)
		count += there[i] & 1;
	return count;
}

static void write_pieces(struct way *way, int fd)
{
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	int done = 0;
	while (done < PIECES && probe_us_since(start) < ENOUGH_MS * 1e3) {
		if (must(pwrite(fd, piece, PIECE, done++ * PIECE)) != PIECE)
			probe_fail("a write to a file was short");
		if (way->sync_after)
			must(fdatasync(fd));
	}
	way->mean_us = probe_us_since(start) / done;
	way->slept_per_write = (double)(probe_slept() - slept) / done;
	fact_int("writes", done);
	fact_real("mean_us", way->mean_us);
	fact_real("slept_per_write", way->slept_per_write);
	fact_real("in_cache_share", (double)pages_in_memory() / done);
}

static void show(struct way *way)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	forget_cache();
	int fd = open(path, O_WRONLY | O_CLOEXEC | way->flags);
	facts_open(way->name);
	fact_bool("available", fd >= 0);
	if (fd >= 0) {
		write_pieces(way, fd);
		close(fd);
	}
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Which ways of writing to a file wait for the disk, and which pass the page cache.");
	struct way ways[] = {
		{.name = "buffered"},
		{.name = "o_sync", .flags = O_SYNC},
		{.name = "o_dsync", .flags = O_DSYNC},
		{.name = "o_direct", .flags = O_DIRECT},
		{.name = "buffered_fdatasync", .sync_after = true},
	};
	enum { WAYS = sizeof ways / sizeof ways[0], BUFFERED = 0, SYNCHRONOUS };
	struct statfs system;
	piece = aligned_alloc(PIECE, PIECE);
	if (!piece)
		probe_fail("no memory");
	memset(piece, 'x', PIECE);
	file = probe_file();
	must(fstatfs(file, &system));
	if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC)
		probe_skip("the folder for temporary files is in memory; let TMPDIR name one on a disk");
	probe_write(file, PIECES * PIECE);
	facts_open("ways");
	for (int i = 0; i < WAYS; i++)
		show(&ways[i]);
	facts_close();
	fact_real("buffered_over_o_sync", ways[BUFFERED].mean_us / ways[SYNCHRONOUS].mean_us);
	facts_list("writes_that_wait");
	for (int i = 0; i < WAYS; i++)
		if (!ways[i].sync_after && ways[i].slept_per_write >= HALF_THE_WRITES)
			fact_text(NULL, ways[i].name);
	facts_close();
	free(piece);
	return probe_end();
}
