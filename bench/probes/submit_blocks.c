/* submit_blocks: does io_submit() return before the operation is done?
 *
 * Linux AIO was made for databases that bypass the page cache, and keeps its promise there: with O_DIRECT a
 * read is handed to the device and io_submit() returns. For everything else the file's ordinary read runs
 * inside io_submit(), in the caller, to its end: a buffered read of what is not in memory waits for the disk,
 * and a read of a socket waits for the peer, if need be for ever. Nothing says so; the completion is there when
 * the call returns. IOCB_CMD_POLL (Linux 4.18) waits for readiness instead of reading, and never blocks.
 *
 * For each the page takes how often the caller slept in io_submit(), per operation, and the time until it has
 * returned as a share of the time until the completion was there: 1 is a call that did all the work. For files
 * the times are medians over several blocks. The socket's peer speaks after 50 ms.
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 1024, READS = 31, SILENCE_MS = 50, STEP = 97 /* against read-ahead */ };

static aio_context_t context;
static int peer;

struct times {
	double submit_us, complete_us;
	double slept; /* in io_submit() */
};

static struct times submit(struct iocb *iocb)
{
	struct iocb *list[] = {iocb};
	struct io_event event;
	struct timespec patience = {.tv_sec = 2};
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	must(syscall(SYS_io_submit, context, 1, list));
	struct times times = {.submit_us = probe_us_since(start)};
	times.slept = (double)(probe_slept() - slept);
	start = clock_now_ns();
	if (must(syscall(SYS_io_getevents, context, 1, 1, &event, &patience)) != 1)
		probe_fail("an operation did not complete within two seconds");
	times.complete_us = times.submit_us + probe_us_since(start);
	if (event.res < 0)
		probe_fail("an operation failed: %s", strerror((int)-event.res));
	return times;
}

static int compare(const void *a, const void *b)
{
	double x = ((const struct times *)a)->submit_us / ((const struct times *)a)->complete_us;
	double y = ((const struct times *)b)->submit_us / ((const struct times *)b)->complete_us;
	return (x > y) - (x < y);
}

static void tell(const char *key, struct times times)
{
	facts_open(key);
	fact_real("submit_us", times.submit_us);
	fact_real("complete_us", times.complete_us);
	fact_real("share", times.submit_us / times.complete_us);
	fact_real("slept", times.slept);
	facts_close();
}

/* Blocks all over the file, each once. */
static struct times read_file(int fd, void *buffer)
{
	struct times times[READS];
	double slept = 0;
	for (int i = 0; i < READS; i++) {
		struct iocb iocb = {.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = (unsigned)fd,
			.aio_buf = (uintptr_t)buffer,
			.aio_nbytes = BLOCK,
			.aio_offset = (long long)(i * STEP % BLOCKS) * BLOCK};
		times[i] = submit(&iocb);
		slept += times[i].slept / READS;
	}
	qsort(times, READS, sizeof *times, compare);
	times[READS / 2].slept = slept;
	return times[READS / 2];
}

static void *speak_later(void *unused)
{
	probe_sleep_ms(SILENCE_MS);
	probe_write(peer, 1);
	return unused;
}

static void use_socket(const char *key, int opcode)
{
	int pair[2];
	static char buffer[BLOCK];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	peer = pair[1];
	struct iocb iocb = {.aio_lio_opcode = (uint16_t)opcode, .aio_fildes = (unsigned)pair[0]};
	iocb.aio_buf = opcode == IOCB_CMD_POLL ? POLLIN : (uintptr_t)buffer;
	iocb.aio_nbytes = opcode == IOCB_CMD_POLL ? 0 : BLOCK;
	pthread_t speaker = probe_thread(speak_later, NULL);
	tell(key, submit(&iocb));
	pthread_join(speaker, NULL);
	close(pair[0]);
	close(pair[1]);
}

/* On a disk: file systems in memory have nothing to wait for. */
static int make_file(char *path)
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

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How much of an operation's time io_submit() keeps its caller: files, sockets, polls.");
	char path[] = "/var/tmp/probe-XXXXXX";
	if (syscall(SYS_io_setup, 8, &context) != 0)
		probe_skip("io_setup: %s; this kernel has no AIO, or seccomp refuses it", strerror(errno));
	void *buffer = aligned_alloc(BLOCK, BLOCK);
	if (!buffer)
		probe_fail("no memory");
	int buffered = make_file(path);
	int direct = open(path, O_RDONLY | O_DIRECT);
	int why = errno;
	must(unlink(path));
	if (direct < 0)
		probe_skip(
			"open with O_DIRECT in /var/tmp: %s; it wants a file system on a disk", strerror(why));

	must(posix_fadvise(buffered, 0, 0, POSIX_FADV_RANDOM)); /* no read-ahead */
	tell("direct", read_file(direct, buffer));
	must(posix_fadvise(buffered, 0, 0, POSIX_FADV_DONTNEED));
	tell("buffered_cold", read_file(buffered, buffer));
	tell("buffered_warm", read_file(buffered, buffer));
	use_socket("socket_read", IOCB_CMD_PREAD);
	use_socket("socket_poll", IOCB_CMD_POLL);
	syscall(SYS_io_destroy, context);
	free(buffer);
	return probe_end();
}
