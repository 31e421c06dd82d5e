/* posix_ipc: are POSIX message queues, semaphores and shared memory streams behind a descriptor?
 *
 * On Linux a message queue is a descriptor that can be polled; read() gives its statistics, not its messages,
 * which have calls of their own, and keep their boundaries. Shared memory is a descriptor, too, of a file in
 * memory: it is always ready for poll(), and epoll refuses it, as it does every regular file. A named semaphore
 * is an address: sem_open() opens a file to map it and closes it at once, so there is nothing to wait for but
 * sem_wait(). (What Linux would offer instead is eventfd with EFD_SEMAPHORE.)
 */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MESSAGE = 8 };

static int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	if (!directory)
		probe_fail("/proc/self/fd: %s", strerror(errno));
	int count = 0;
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static int epoll_error(int fd)
{
	int epoll_fd = must(epoll_create1(0));
	int result = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN});
	int error = result == 0 ? 0 : errno;
	close(epoll_fd);
	return error;
}

static void message_queue(const char *name)
{
	struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = MESSAGE};
	char text[256];
	int before = open_descriptors();
	mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attributes);
	if (queue < 0)
		probe_skip("mq_open: %s; this kernel has no POSIX message queues, or their limit is reached",
			strerror(errno));
	must(mq_unlink(name));
	facts_open("message_queue");
	fact_int("descriptors", open_descriptors() - before);
	fact_bool("ready_while_empty", probe_ready(queue, POLLIN, 0));
	fact_error("epoll", epoll_error(queue));
	must(mq_send(queue, "abc", 3, 0));
	must(mq_send(queue, "de", 2, 0));
	fact_bool("ready_with_messages", probe_ready(queue, POLLIN, 0));
	fact_bool("room_while_full", probe_ready(queue, POLLOUT, 0));
	ssize_t bytes = read(queue, text, sizeof text);
	fact_bool("read_gives_statistics", bytes > 0 && text[0] == 'Q'); /* QSIZE:... */
	fact_int("first_receive", must(mq_receive(queue, text, MESSAGE, NULL)));
	fact_int("second_receive", must(mq_receive(queue, text, MESSAGE, NULL)));
	ssize_t third = mq_receive(queue, text, MESSAGE, NULL);
	fact_error("third_receive", third < 0 ? errno : 0);
	facts_close();
	mq_close(queue);
}

static void shared_memory(const char *name)
{
	int before = open_descriptors();
	int memory = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (memory < 0)
		probe_skip("shm_open: %s; is /dev/shm mounted?", strerror(errno));
	must(shm_unlink(name));
	facts_open("shared_memory");
	fact_int("descriptors", open_descriptors() - before);
	fact_bool("ready_while_empty", probe_ready(memory, POLLIN, 0));
	fact_error("epoll", epoll_error(memory));
	facts_close();
	close(memory);
}

static void semaphore(const char *name)
{
	int before = open_descriptors();
	sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
	if (semaphore == SEM_FAILED)
		probe_fail("sem_open: %s", strerror(errno));
	must(sem_unlink(name));
	facts_open("semaphore");
	fact_int("descriptors", open_descriptors() - before);
	facts_close();
	sem_close(semaphore);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Which of POSIX's means of talking between processes have a descriptor, and can be waited "
		"for.");
	char name[32];
	snprintf(name, sizeof name, "/probe-ipc-%d", getpid());
	message_queue(name);
	shared_memory(name);
	semaphore(name);
	return probe_end();
}
