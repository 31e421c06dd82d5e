/* aio_helpers: how many POSIX asynchronous operations can wait at the same time?
 *
 * glibc runs each operation in a helper thread, and a read of a silent socket keeps its thread until the peer
 * speaks. There are at most 20 (aio_threads in aio_misc.c; aio_init() changes it, before the first operation).
 * So twenty connections that are silent stop all others: the twenty-first operation is accepted, queued, and
 * not begun, although its data is there. When one of the twenty gets its data, its thread takes the next in the
 * queue, which may be as silent as the others. A child with aio_init(64) has no such wall there, only a later
 * one.
 * Takes about 1 s.
 */
#include "probe.h"

#include <aio.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEFAULT = 20, SILENT = 20, RAISED = 64, MANY = 200, PATIENCE_MS = 300 };

struct seen {
	long threads;
	bool ready, done_before, done_after;
};

static struct aiocb operations[MANY];
static int theirs[MANY];
static char buffers[MANY][8];

static void start(int i)
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	theirs[i] = pair[1];
	operations[i] = (struct aiocb){.aio_fildes = pair[0],
		.aio_buf = buffers[i],
		.aio_nbytes = sizeof buffers[i],
		.aio_sigevent.sigev_notify = SIGEV_NONE};
	must(aio_read(&operations[i]));
}

static bool is_over(void *operation)
{
	return aio_error(operation) != EINPROGRESS;
}

/* So many that wait for ever, and one more whose data is there. */
static struct seen crowd(int silent)
{
	for (int i = 0; i < silent; i++)
		start(i);
	start(silent);
	probe_write(theirs[silent], 1);
	struct seen seen = {.ready = probe_ready(operations[silent].aio_fildes, POLLIN, 0)};
	seen.done_before = probe_until(is_over, &operations[silent], PATIENCE_MS);
	seen.threads = probe_status(getpid(), "Threads");
	probe_write(theirs[0], 1); /* one of the silent ones is silent no more */
	seen.done_after = probe_until(is_over, &operations[silent], PATIENCE_MS);
	return seen;
}

/* Each in a process of its own: aio_init() counts only before the first operation. */
static void tell(const char *key, int limit, int silent)
{
	int report[2];
	struct seen seen;
	must(pipe(report));
	pid_t child = probe_fork();
	if (child == 0) {
		if (limit != DEFAULT)
			aio_init(&(struct aioinit){.aio_threads = limit, .aio_num = MANY});
		seen = crowd(silent);
		_exit(write(report[1], &seen, sizeof seen) == sizeof seen ? 0 : 1);
	}
	if (!probe_ready(report[0], POLLIN, 3000) || read(report[0], &seen, sizeof seen) != sizeof seen)
		probe_fail("a child said nothing for three seconds");
	probe_reap(child);
	facts_open(key);
	fact_int("silent", silent);
	fact_int("threads", seen.threads);
	fact_bool("one_more_served", seen.done_before);
	fact_bool("one_more_served_when_a_thread_is_free", seen.done_after);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"glibc's helper threads for POSIX AIO: twenty silent reads stop the twenty-first.");
	tell("one_less_than_helpers", DEFAULT, SILENT - 1);
	tell("as_many_as_helpers", DEFAULT, SILENT);
	tell("many_more_than_helpers", DEFAULT, MANY - 1);
	tell("with_aio_init", RAISED, SILENT);
	return probe_end();
}
