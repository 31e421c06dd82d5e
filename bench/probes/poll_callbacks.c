/* poll_callbacks: how often does the kernel ask a file whether it is ready?
 *
 * Below select(), poll() and epoll each kind of file has one function that tells its state (f_op->poll). What
 * makes the waits differ is how often it is called, and this page is the file that is called: a file system of
 * one file, served over /dev/fuse, to which the kernel forwards each call as a message. One hundred
 * descriptors of it are watched, and the messages are counted.
 *
 * select() and poll() ask every descriptor in every call; if they then sleep, they ask all of them again after
 * they wake, even if only time is up. They do not stop at the first that is ready, and a descriptor in all
 * three sets of select() is asked once. epoll asks each once, when it is added; after that a file that has news
 * calls epoll, and a wait asks only those that did.
 *
 * Needs /dev/fuse, and root or a user namespace. The file system is seen by this process alone, and ends with
 * it.
 * Takes about 0.4 s.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WATCHED = 100, REQUEST_BYTES = 65536, SILENCE_MS = 50, NONE = -1 };

/* What the process that plays the device shares with the one that watches. */
struct device {
	atomic_int callbacks, ready; /* ready: the index of the file that is, or NONE */
	uint64_t handles[WATCHED];   /* the kernel's names for the open files, to wake their waiters */
};
static struct device *device;
static int fds[WATCHED], orders[2], done[2];
static pid_t player; /* of the device */

/* The device. */

static void answer(int fuse_fd, uint64_t unique, int error, const void *body, size_t size)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof header + size), .error = error, .unique = unique};
	struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)body, size}};
	must(writev(fuse_fd, parts, 2));
}

static void answer_poll(int fuse_fd, uint64_t unique, const struct fuse_poll_in *in)
{
	device->handles[in->fh] = in->kh;
	atomic_fetch_add(&device->callbacks, 1);
	bool ready = (int)in->fh == atomic_load(&device->ready);
	struct fuse_poll_out out = {.revents = ready ? POLLIN : 0};
	answer(fuse_fd, unique, 0, &out, sizeof out);
}

static void serve_request(int fuse_fd)
{
	static union {
		struct fuse_in_header header;
		char bytes[REQUEST_BYTES];
	} request;
	static uint64_t opened;
	const void *body = request.bytes + sizeof request.header;
	ssize_t n = read(fuse_fd, &request, sizeof request);
	if (n < 0 && (errno == EINTR || errno == ENOENT)) /* ENOENT: it was taken back */
		return;
	if (n < 0)
		_exit(0); /* ENODEV: the file system is gone */
	uint64_t unique = request.header.unique;
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
	struct fuse_attr_out attributes = {.attr = {.ino = FUSE_ROOT_ID, .mode = S_IFREG | 0600, .nlink = 1}};
	struct fuse_open_out open_out = {.fh = opened, .open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE};
	switch (request.header.opcode) {
	case FUSE_INIT:
		answer(fuse_fd, unique, 0, &init, sizeof init);
		break;
	case FUSE_GETATTR:
		answer(fuse_fd, unique, 0, &attributes, sizeof attributes);
		break;
	case FUSE_OPEN:
		opened++;
		answer(fuse_fd, unique, 0, &open_out, sizeof open_out);
		break;
	case FUSE_POLL:
		answer_poll(fuse_fd, unique, body);
		break;
	case FUSE_RELEASE:
		answer(fuse_fd, unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break; /* want no answer */
	default:
		answer(fuse_fd, unique, -ENOSYS, NULL, 0);
	}
}

/* "This file has news": the kernel wakes who waits for it. */
static void make_ready(int fuse_fd, int which)
{
	atomic_store(&device->ready, which);
	if (which == NONE)
		return;
	struct fuse_notify_poll_wakeup_out wakeup = {.kh = device->handles[which]};
	answer(fuse_fd, 0, FUSE_NOTIFY_POLL, &wakeup, sizeof wakeup);
}

static _Noreturn void play_device(int fuse_fd)
{
	for (;;) {
		struct pollfd either[] = {
			{.fd = fuse_fd, .events = POLLIN}, {.fd = orders[0], .events = POLLIN}};
		int which;
		must(poll(either, 2, -1));
		if (either[0].revents)
			serve_request(fuse_fd);
		if (either[1].revents) {
			must(read(orders[0], &which, sizeof which));
			make_ready(fuse_fd, which);
			must(write(done[1], &which, sizeof which));
		}
	}
}

/* The watcher. */

static void set_ready(int which)
{
	must(write(orders[1], &which, sizeof which));
	must(read(done[0], &which, sizeof which));
}

static void write_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		probe_skip("%s: %s", path, strerror(errno));
	close(fd);
}

/* Mounts are seen by us alone, and if we are not root, we are in a namespace of users of our own. */
static void own_namespace(void)
{
	char map[64];
	uid_t user = geteuid();
	gid_t group = getegid();
	if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
		probe_skip("a mount namespace: %s; run as root", strerror(errno));
	if (user != 0) {
		write_line("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "0 %d 1", (int)user);
		write_line("/proc/self/uid_map", map);
		snprintf(map, sizeof map, "0 %d 1", (int)group);
		write_line("/proc/self/gid_map", map);
	}
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static void open_device(void)
{
	char path[] = "/tmp/probe-XXXXXX", options[128];
	device = mmap(NULL, sizeof *device, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (device == MAP_FAILED)
		probe_fail("no memory");
	atomic_store(&device->ready, NONE);
	int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse_fd < 0)
		probe_skip("/dev/fuse: %s; load the module fuse, run as root", strerror(errno));
	own_namespace();
	must(pipe2(orders, O_CLOEXEC));
	must(pipe2(done, O_CLOEXEC));
	close(must(mkstemp(path)));
	snprintf(options, sizeof options, "fd=%d,rootmode=100000,user_id=0,group_id=0", fuse_fd);
	int mounted = mount("probe", path, "fuse", MS_NOSUID | MS_NODEV, options);
	int why = errno;
	if (mounted == 0 && (player = probe_fork()) == 0)
		play_device(fuse_fd);
	close(fuse_fd);
	for (int i = 0; mounted == 0 && i < WATCHED; i++)
		fds[i] = must(open(path, O_RDONLY | O_CLOEXEC));
	if (mounted == 0)
		must(umount2(path, MNT_DETACH)); /* the open files keep it */
	must(unlink(path));
	if (mounted != 0)
		probe_skip("mounting a file system of type fuse: %s", strerror(why));
}

static int poll_all(int patience_ms)
{
	struct pollfd watched[WATCHED];
	for (int i = 0; i < WATCHED; i++)
		watched[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	return must(poll(watched, WATCHED, patience_ms));
}

static int select_all(int patience_ms)
{
	fd_set sets[3];
	struct timeval patience = {.tv_usec = patience_ms * 1000};
	FD_ZERO(&sets[0]);
	for (int i = 0; i < WATCHED; i++)
		FD_SET(fds[i], &sets[0]);
	sets[1] = sets[2] = sets[0];
	return must(select(fds[WATCHED - 1] + 1, &sets[0], &sets[1], &sets[2], &patience));
}

static int epoll_fd;

static int epoll_all(int patience_ms)
{
	struct epoll_event events[WATCHED];
	return must(epoll_wait(epoll_fd, events, WATCHED, patience_ms));
}

static void *ready_later(void *unused)
{
	probe_sleep_ms(SILENCE_MS);
	set_ready(WATCHED / 2);
	return unused;
}

static int since;

static void begin(void)
{
	since = atomic_load(&device->callbacks);
}

static void count(const char *key, int returned, int expected)
{
	if (returned != expected)
		probe_fail("%s: a wait returned %d, not %d", key, returned, expected);
	fact_int(key, atomic_load(&device->callbacks) - since);
}

static void tell(const char *key, int (*wait)(int patience_ms))
{
	facts_open(key);
	begin();
	count("none_ready", wait(0), 0);
	set_ready(0);
	begin();
	count("first_ready", wait(0), 1);
	count("first_ready_twice", wait(0), 1);
	set_ready(WATCHED - 1);
	wait(0); /* epoll finds out here that the first is ready no more */
	begin();
	count("last_ready", wait(0), 1);
	set_ready(NONE);
	wait(0);
	begin();
	count("slept_until_time_was_up", wait(SILENCE_MS), 0);
	begin();
	pthread_t other = probe_thread(ready_later, NULL);
	count("slept_until_one_was_ready", wait(900), 1);
	pthread_join(other, NULL);
	set_ready(NONE);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How often select(), poll() and epoll ask 100 files for their state: a file that counts.");
	open_device();
	fact_int("watched", WATCHED);
	tell("select", select_all);
	tell("poll", poll_all);
	epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	begin();
	for (int i = 0; i < WATCHED; i++)
		must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &(struct epoll_event){.events = EPOLLIN}));
	count("adding_to_epoll", 0, 0);
	tell("epoll", epoll_all);

	close(epoll_fd);
	for (int i = 0; i < WATCHED; i++)
		close(fds[i]); /* the last one ends the file system, and with it the device */
	probe_reap(player);
	return probe_end();
}
