/* uring_submit: does handing an operation to io_uring wait for it?
 *
 * io_uring tries each operation first without blocking, within io_uring_enter(). If that fails, a read of a
 * socket is retried when the socket is ready, a read of a file goes on when the pages are there, and where the
 * kernel knows no such way a thread of its own does the waiting. So the call that submits is short for a file
 * on disk, whether it bypasses the page cache or not, and for a silent socket; with Linux AIO only the first of
 * these is true (submit_blocks.c asks the same there).
 *
 * For each the page takes how often the caller slept in the submission, per operation, and the time until it
 * has returned as a share of the time until the completion was there. For files the times are medians over
 * several blocks. The socket's peer speaks after 50 ms.  pkg-config: liburing
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 1024, READS = 31, SILENCE_MS = 50, STEP = 97 /* against read-ahead */ };

static struct io_uring ring;
static int peer;

struct times {
	double submit_us, complete_us;
	double slept; /* in the submission */
};

static struct times read_by_ring(int fd, void *buffer, uint64_t offset)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec patience = {.tv_sec = 2};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, fd, buffer, BLOCK, offset);
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	int submitted = io_uring_submit(&ring);
	struct times times = {.submit_us = probe_us_since(start)};
	times.slept = (double)(probe_slept() - slept);
	start = clock_now_ns();
	int error = submitted == 1 ? io_uring_wait_cqe_timeout(&ring, &cqe, &patience) : submitted;
	if (error < 0 || cqe->res < 0)
		probe_fail("an operation failed: %s", strerror(error < 0 ? -error : -cqe->res));
	times.complete_us = times.submit_us + probe_us_since(start);
	io_uring_cqe_seen(&ring, cqe);
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
		times[i] = read_by_ring(fd, buffer, (uint64_t)(i * STEP % BLOCKS) * BLOCK);
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

static void read_socket(void *buffer)
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	peer = pair[1];
	pthread_t speaker = probe_thread(speak_later, NULL);
	tell("socket_read", read_by_ring(pair[0], buffer, 0));
	pthread_join(speaker, NULL);
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
	probe_begin(
		argc, argv, "", "How much of an operation's time a submission to io_uring keeps its caller.");
	char path[] = "/var/tmp/probe-XXXXXX";
	int error = io_uring_queue_init(8, &ring, 0);
	if (error < 0)
		probe_skip("io_uring_setup: %s; seccomp, or kernel.io_uring_disabled, refuses it",
			strerror(-error));
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
	read_socket(buffer);
	io_uring_queue_exit(&ring);
	free(buffer);
	return probe_end();
}
