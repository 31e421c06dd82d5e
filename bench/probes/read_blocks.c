/* read_blocks: does a read without data wait?
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says two things of descriptors: unless told otherwise, a read
 * of any of them blocks while there is no data; and any of them can be made nonblocking, be it pipe, FIFO,
 * socket, terminal or another device.
 *
 * Ten kinds of descriptors have nothing to read. A child of ours reads one byte, or an event's eight: if it has
 * not returned after PATIENCE_MS it waits, and /proc says in which state. Then the same with O_NONBLOCK, where
 * a call that returns at once with EAGAIN and was never put to sleep has kept the flag's promise. Two kinds
 * never wait: a regular file at its end, and /dev/null; both say 0, end of file, with the flag or without.
 *
 * Try: build/probes/read_blocks
 * Takes about 1.6 s.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PATIENCE_MS = 150 };

static int kinds, waited, refused; /* of those that could be out of data */

static long read_some(void *fd)
{
	char buffer[256]; /* room for an event of any kind */
	return read(*(int *)fd, buffer, sizeof buffer);
}

static void show(const char *kind, int fd)
{
	facts_open(kind);
	probe_nonblock(fd, false);
	struct outcome plain = probe_call(read_some, &fd, PATIENCE_MS);
	fact_bool("waits", !plain.returned);
	if (plain.returned)
		fact_int("returns", plain.value);
	else
		fact_text("state", (char[]){plain.state, '\0'});

	probe_nonblock(fd, true);
	fact_bool("nonblocking_is_set", must(fcntl(fd, F_GETFL)) & O_NONBLOCK);
	struct outcome nonblocking = probe_call(read_some, &fd, PATIENCE_MS);
	fact_bool("nonblocking_waits", !nonblocking.returned);
	fact_error("nonblocking_error", nonblocking.error);
	facts_close();
	kinds++;
	waited += !plain.returned;
	refused += nonblocking.returned && nonblocking.error == EAGAIN;
}

static int fifo(void)
{
	char folder[] = "/tmp/muxbench-probe.XXXXXX", path[64];
	if (!mkdtemp(folder))
		probe_fail("mkdtemp");
	snprintf(path, sizeof path, "%s/fifo", folder);
	must(mkfifo(path, 0600));
	int fd = must(open(path, O_RDWR | O_CLOEXEC)); /* its own writer: no end of file */
	must(unlink(path));
	must(rmdir(folder));
	return fd;
}

static int signals(void)
{
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	return must(signalfd(-1, &mask, SFD_CLOEXEC));
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "What a read does without data, on ten kinds of descriptors.");
	int tcp[2], local[2], ends[2], master, terminal;
	probe_tcp_pair(tcp);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, local));
	must(pipe(ends));
	must(openpty(&master, &terminal, NULL, NULL, NULL));

	facts_open("kinds");
	show("tcp_socket", tcp[0]);
	show("unix_socket", local[0]);
	show("pipe", ends[0]);
	show("fifo", fifo());
	show("terminal", terminal);
	show("terminal_master", master);
	show("eventfd", must(eventfd(0, 0)));
	show("timerfd", must(timerfd_create(CLOCK_MONOTONIC, 0)));
	show("signalfd", signals());
	show("inotify", must(inotify_init()));
	facts_close();
	fact_int("kinds_without_data", kinds);
	fact_int("waited", waited);
	fact_int("refused_when_nonblocking", refused);

	facts_open("exceptions");
	show("regular_file_at_its_end", probe_file());
	show("dev_null", must(open("/dev/null", O_RDONLY)));
	facts_close();
	return probe_end();
}
