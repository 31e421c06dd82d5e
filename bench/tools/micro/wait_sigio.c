/* Signal-driven I/O: the kernel queues a real-time signal for each arrival, and a wait takes one of them. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned *index_of; /* by descriptor */
static const int *watched;
static unsigned total;
static sigset_t taken;

static void watch(const int *fds, unsigned count)
{
	int limit = 0, number = SIGRTMIN + 1;
	struct f_owner_ex owner = {F_OWNER_TID, (pid_t)syscall(SYS_gettid)};
	sigemptyset(&taken);
	sigaddset(&taken, number);
	sigaddset(&taken, SIGIO);
	sigprocmask(SIG_BLOCK, &taken, NULL);
	watched = fds;
	total = count;
	for (unsigned i = 0; i < count; i++)
		limit = fds[i] >= limit ? fds[i] + 1 : limit;
	index_of = zeroed((size_t)limit, sizeof *index_of);
	for (unsigned i = 0; i < count; i++) {
		index_of[fds[i]] = i;
		if (fcntl(fds[i], F_SETOWN_EX, &owner) != 0 || fcntl(fds[i], F_SETSIG, number) != 0 ||
			fcntl(fds[i], F_SETFL, O_NONBLOCK | O_ASYNC) != 0)
			cannot("fcntl(O_ASYNC)");
	}
}

static unsigned wait_once(unsigned *ready, unsigned room)
{
	(void)room;
	siginfo_t info;
	int number;
	while ((number = sigwaitinfo(&taken, &info)) < 0)
		if (errno != EINTR)
			fail("sigwaitinfo");
	if (number == SIGIO) {
		errno = ENOBUFS;
		cannot("more events than RLIMIT_SIGPENDING (ulimit -i) lets be queued");
	}
	*ready = index_of[info.si_fd];
	return 1;
}

static void unwatch(void)
{
	for (unsigned i = 0; i < total; i++)
		fcntl(watched[i], F_SETFL, O_NONBLOCK);
	free(index_of);
}

const struct way way_sigio = {
	"sigio", "a queued real-time signal for each event, taken one by one", watch, wait_once, NULL, unwatch};
