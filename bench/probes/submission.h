/* What asking an asynchronous interface for a read costs its caller: submit_blocks.c and uring_submit.c ask the
 * same of two of them. The times are of the submission, and until the completion was there. */
#ifndef SUBMISSION_H
#define SUBMISSION_H

#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 1024, READS = 31, SILENCE_MS = 50, STEP = 97 /* against read-ahead */ };

struct times {
	double submit_us, complete_us;
	double slept; /* in the submission */
};

/* Reads BLOCK bytes through the interface. */
typedef struct times read_block(int fd, void *buffer, uint64_t offset);

static inline int by_share(const void *a, const void *b)
{
	double x = ((const struct times *)a)->submit_us / ((const struct times *)a)->complete_us;
	double y = ((const struct times *)b)->submit_us / ((const struct times *)b)->complete_us;
	return (x > y) - (x < y);
}

static inline void tell_times(const char *key, struct times times)
{
	facts_open(key);
	fact_real("submit_us", times.submit_us);
	fact_real("complete_us", times.complete_us);
	fact_real("share", times.submit_us / times.complete_us);
	fact_real("slept", times.slept);
	facts_close();
}

/* Blocks all over the file, each once. */
static inline struct times read_file(read_block *read_one, int fd, void *buffer)
{
	struct times times[READS];
	double slept = 0;
	for (int i = 0; i < READS; i++) {
		times[i] = read_one(fd, buffer, (uint64_t)(i * STEP % BLOCKS) * BLOCK);
		slept += times[i].slept / READS;
	}
	qsort(times, READS, sizeof *times, by_share);
	times[READS / 2].slept = slept;
	return times[READS / 2];
}

/* On a disk: file systems in memory have nothing to wait for. */
static inline int make_file(char *path)
{
	static char block[BLOCK];
	struct statfs system;
	int fd = must(mkstemp(path));
	must(fstatfs(fd, &system));
	if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC) {
		unlink(path);
		probe_skip("/var/tmp is in memory; it wants a file system on a disk");
	}
	for (int i = 0; i < BLOCKS; i++)
		must(write(fd, block, BLOCK));
	must(fsync(fd));
	return fd;
}

/* A file past the page cache, through a cold one, and through a warm one. */
static inline void tell_files(read_block *read_one, void *buffer)
{
	char path[] = "/var/tmp/probe-XXXXXX";
	int buffered = make_file(path);
	int direct = open(path, O_RDONLY | O_DIRECT);
	int why = errno;
	must(unlink(path));
	if (direct < 0)
		probe_skip(
			"open with O_DIRECT in /var/tmp: %s; it wants a file system on a disk", strerror(why));
	must(posix_fadvise(buffered, 0, 0, POSIX_FADV_RANDOM)); /* no read-ahead */
	tell_times("direct", read_file(read_one, direct, buffer));
	must(posix_fadvise(buffered, 0, 0, POSIX_FADV_DONTNEED));
	tell_times("buffered_cold", read_file(read_one, buffered, buffer));
	tell_times("buffered_warm", read_file(read_one, buffered, buffer));
	close(buffered);
	close(direct);
}

static inline void *speak_later(void *peer)
{
	probe_sleep_ms(SILENCE_MS);
	probe_write(*(int *)peer, 1);
	return NULL;
}

/* A socket whose peer is silent for a while. */
static inline void tell_socket(const char *key, read_block *read_one, void *buffer)
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pthread_t speaker = probe_thread(speak_later, &pair[1]);
	tell_times(key, read_one(pair[0], buffer, 0));
	pthread_join(speaker, NULL);
	close(pair[0]);
	close(pair[1]);
}

#endif
