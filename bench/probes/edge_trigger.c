/* edge_trigger: the story of 1,024, 500, 524 and 1,548 bytes.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) tells what an edge-triggered notification leaves behind: 1,024
 * bytes arrive, the process is told and reads 500; the other 524 remain unmentioned until 1,024 more arrive,
 * which makes 1,548; the process reads 1,024 and 524 are left again. And she says that these cannot be read
 * before the next notification.
 *
 * The story is played on a connected pair of sockets, once under EPOLLET and once under level-triggered epoll.
 * Each step of `steps` is a number: bytes written, events that a wait told, bytes read, or bytes that FIONREAD
 * then found. Afterwards comes what the story leaves out: a read without any notification, and EPOLL_CTL_MOD,
 * which asks the kernel to look again and so tells of old data.
 *
 * Try: build/probes/edge_trigger
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE = 1024,
	FIRST_READ = 500,
	PATIENCE_MS =
		100, /* what is there is told at once: this long nothing is told that is not going to be */
};

static int told(int epoll_fd, int patience_ms)
{
	struct epoll_event event;
	return must(epoll_wait(epoll_fd, &event, 1, patience_ms));
}

/* Where an event is due it comes at once; a wait that finds none lasts its full patience. */
static void play(const char *name, uint32_t trigger)
{
	char buffer[MESSAGE] = {0};
	int pair[2], epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	struct epoll_event interest = {.events = EPOLLIN | trigger};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[1], &interest));

	facts_open(name);
	facts_list("steps");
	fact_int(NULL, must(write(pair[0], buffer, MESSAGE)));
	fact_int(NULL, told(epoll_fd, PATIENCE_MS));
	fact_int(NULL, must(read(pair[1], buffer, FIRST_READ)));
	int told_of_the_rest = told(epoll_fd, PATIENCE_MS);
	fact_int(NULL, told_of_the_rest);
	fact_int(NULL, probe_unread(pair[1]));
	fact_int(NULL, must(write(pair[0], buffer, MESSAGE)));
	fact_int(NULL, told(epoll_fd, PATIENCE_MS));
	fact_int(NULL, probe_unread(pair[1]));
	fact_int(NULL, must(read(pair[1], buffer, MESSAGE)));
	fact_int(NULL, probe_unread(pair[1]));
	fact_int(NULL, told(epoll_fd, PATIENCE_MS));
	facts_close();
	fact_int("told_of_the_rest", told_of_the_rest);

	fact_int("read_without_notification", read(pair[1], buffer, MESSAGE)); /* -1 if it would block */

	probe_write(pair[0], MESSAGE);
	told(epoll_fd, PATIENCE_MS);
	must(read(pair[1], buffer, FIRST_READ));
	must(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, pair[1], &interest));
	fact_int("told_after_mod", told(epoll_fd, PATIENCE_MS));
	facts_close();
	close(epoll_fd);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "What an edge-triggered event tells of 1,024 bytes of which 500 are read.");
	play("edge", EPOLLET);
	play("level", 0);
	return probe_end();
}
