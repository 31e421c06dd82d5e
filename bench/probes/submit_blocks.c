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
#include "submission.h"

#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/syscall.h>

static aio_context_t context;

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

static struct times read_by_aio(int fd, void *buffer, uint64_t offset)
{
	struct iocb iocb = {.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (unsigned)fd,
		.aio_buf = (uintptr_t)buffer,
		.aio_nbytes = BLOCK,
		.aio_offset = (long long)offset};
	return submit(&iocb);
}

static struct times poll_by_aio(int fd, void *buffer, uint64_t offset)
{
	struct iocb iocb = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)fd, .aio_buf = POLLIN};
	(void)buffer, (void)offset;
	return submit(&iocb);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How much of an operation's time io_submit() keeps its caller: files, sockets, polls.");
	if (syscall(SYS_io_setup, 8, &context) != 0)
		probe_skip("io_setup: %s; this kernel has no AIO, or seccomp refuses it", strerror(errno));
	void *buffer = aligned_alloc(BLOCK, BLOCK);
	if (!buffer)
		probe_fail("no memory");
	tell_files(read_by_aio, buffer);
	tell_socket("socket_read", read_by_aio, buffer);
	tell_socket("socket_poll", poll_by_aio, buffer);
	syscall(SYS_io_destroy, context);
	free(buffer);
	return probe_end();
}
