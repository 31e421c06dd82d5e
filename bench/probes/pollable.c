/* pollable: can select() and poll() wait for signals, files, timers, processes, completions?
 *
 * They wait for descriptors. On Linux nearly everything a program may wait for has one: signalfd for signals,
 * inotify for changes to files, an eventfd that Linux AIO adds to as operations complete, io_uring's own
 * descriptor for its completions, timerfd, pidfd for the end of a process, a message queue, and epoll itself,
 * which is a descriptor that is readable while it has events. For each kind the page asks before anything has
 * happened and after: `told` means not readable before, and readable after, by select, poll and epoll alike.
 * Of what a host lacks only the reason is told.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* What each kind keeps between being made and being made ready. */
static int other_fd;
static pid_t child;
static char directory[] = "/tmp/probe-XXXXXX";
static aio_context_t aio;
static struct iocb iocb;
static struct io_uring_params ring_layout;

static int make_signal(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	return signalfd(-1, &set, 0);
}

static void send_signal(int fd)
{
	(void)fd;
	must(kill(getpid(), SIGUSR1));
}

static int make_inotify(void)
{
	int fd = inotify_init1(0);
	if (fd < 0)
		return -1;
	if (!mkdtemp(directory))
		probe_fail("mkdtemp %s", directory);
	must(inotify_add_watch(fd, directory, IN_CREATE | IN_DELETE));
	return fd;
}

static void change_file(int fd)
{
	(void)fd;
	char path[64];
	snprintf(path, sizeof path, "%s/file", directory);
	close(must(open(path, O_CREAT | O_WRONLY, 0600)));
	must(unlink(path));
	must(rmdir(directory));
}

/* The operation is a poll on a pipe, handed to Linux AIO, that tells an eventfd. */
static int make_aio(void)
{
	int pair[2];
	if (syscall(SYS_io_setup, 1, &aio) != 0)
		return -1;
	must(pipe(pair));
	other_fd = pair[1];
	int fd = must(eventfd(0, 0));
	iocb = (struct iocb){.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (unsigned)pair[0],
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (unsigned)fd};
	struct iocb *list[] = {&iocb};
	must(syscall(SYS_io_submit, aio, 1, list));
	return fd;
}

static void complete_other(int fd)
{
	(void)fd;
	probe_write(other_fd, 1);
}

/* One operation that does nothing completes as soon as it is submitted. */
static int make_uring(void)
{
	return (int)syscall(SYS_io_uring_setup, 1, &ring_layout);
}

static void submit_uring(int fd)
{
	size_t size = ring_layout.sq_off.array + ring_layout.sq_entries * sizeof(unsigned);
	char *ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe =
		mmap(NULL, sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (ring == MAP_FAILED || sqe == MAP_FAILED)
		probe_fail("mmap of the ring: %s", strerror(errno));
	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP};
	*(unsigned *)(ring + ring_layout.sq_off.array) = 0;
	__atomic_store_n((unsigned *)(ring + ring_layout.sq_off.tail), 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0));
}

static int make_timer(void)
{
	return timerfd_create(CLOCK_MONOTONIC, 0);
}

static void run_timer(int fd)
{
	must(timerfd_settime(fd, 0, &(struct itimerspec){.it_value.tv_nsec = 1}, NULL));
}

static int make_process(void)
{
	child = probe_fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	return (int)syscall(SYS_pidfd_open, child, 0);
}

static void end_process(int fd)
{
	(void)fd;
	must(kill(child, SIGKILL));
	must(waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT)); /* it stays a zombie */
}

static int make_queue(void)
{
	char name[32];
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
	snprintf(name, sizeof name, "/probe-%d", getpid());
	int fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
	if (fd >= 0)
		must(mq_unlink(name));
	return fd;
}

static void send_message(int fd)
{
	must(mq_send(fd, "hello", 5, 0));
}

static int make_eventfd(void)
{
	return eventfd(0, 0);
}

static void add_event(int fd)
{
	must(eventfd_write(fd, 1));
}

static int make_epoll(void)
{
	int pair[2];
	must(pipe(pair));
	other_fd = pair[1];
	int fd = epoll_create1(0);
	must(epoll_ctl(fd, EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLIN}));
	return fd;
}

static const struct kind {
	const char *name;
	int (*make)(void);
	void (*happen)(int fd);
} kinds[] = {
	{"signal", make_signal, send_signal},
	{"file_change", make_inotify, change_file},
	{"aio_completion", make_aio, complete_other},
	{"io_uring_completion", make_uring, submit_uring},
	{"timer", make_timer, run_timer},
	{"process_end", make_process, end_process},
	{"message_queue", make_queue, send_message},
	{"event", make_eventfd, add_event},
	{"epoll_set", make_epoll, complete_other},
};

static void tell(const struct kind *kind)
{
	int fd = kind->make();
	if (fd < 0) {
		facts_open(kind->name);
		fact_error("missing", errno);
		facts_close();
		return;
	}
	bool before[] = {
		probe_select(fd, POLLIN), probe_ready(fd, POLLIN, 0), probe_epoll(fd, EPOLLIN, 0) != 0};
	kind->happen(fd);
	probe_ready(fd, POLLIN, 500); /* a timer's nanosecond, and whatever else takes a moment */
	bool after[] = {probe_select(fd, POLLIN), probe_ready(fd, POLLIN, 0), probe_epoll(fd, EPOLLIN, 0) != 0};
	facts_open(kind->name);
	fact_bool("select", !before[0] && after[0]);
	fact_bool("poll", !before[1] && after[1]);
	fact_bool("epoll", !before[2] && after[2]);
	facts_close();
	close(fd);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Signals, file changes, completions, timers, processes and queues as descriptors.");
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		tell(&kinds[i]);
	probe_reap(child);
	return probe_end();
}
