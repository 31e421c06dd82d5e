/* level_again: do select() and poll() report what they reported before?
 *
 * Level-triggered means: the answer depends on the state alone, not on what was told or done before. 1024 bytes
 * arrive once. As long as any of them is unread every wait reports the descriptor, whether the program read
 * some (500), none, or was told already; after the last byte none does. Nothing arrives meanwhile: what is
 * reported again is the same readiness. The sequences are, after each step, what a wait without patience
 * returned.
 */
#include "probe.h"

#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SENT = 1024, FIRST_READ = 500 };

static int fd;

static int ask_select(void)
{
	fd_set readable;
	FD_ZERO(&readable);
	FD_SET(fd, &readable);
	return must(select(fd + 1, &readable, NULL, NULL, &(struct timeval){0}));
}

static int ask_poll(void)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	return must(poll(&watched, 1, 0));
}

static void tell(const char *key, int (*ask)(void))
{
	int pair[2];
	char buffer[SENT];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fd = pair[0];
	facts_list(key);
	fact_int(NULL, ask()); /* nothing was sent */
	probe_write(pair[1], SENT);
	fact_int(NULL, ask()); /* 1024 bytes */
	must(read(fd, buffer, FIRST_READ));
	fact_int(NULL, ask()); /* 524 are left */
	fact_int(NULL, ask()); /* and nothing was done about them */
	fact_int(NULL, ask());
	must(read(fd, buffer, SENT - FIRST_READ));
	fact_int(NULL, ask()); /* all is read */
	facts_close();
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "select() and poll() report a descriptor for as long as it is ready.");
	tell("select", ask_select);
	tell("poll", ask_poll);
	return probe_end();
}
