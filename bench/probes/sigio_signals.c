/* sigio_signals: does the kernel send a signal every time a descriptor becomes ready?
 *
 * O_ASYNC asks for a signal per event. What arrives depends on the kind of signal. A standard one, SIGIO, is a
 * bit: while it is pending, every further one is the same one, and whoever was slow to take it has to look at
 * every descriptor. With F_SETSIG a real-time signal is queued instead, one for each event, with the descriptor
 * in it: also for a descriptor that was ready already, so there are as many as messages, not as many as changes
 * to ready. And the queue is bounded, by RLIMIT_SIGPENDING, for all processes of a user together: an event that
 * finds it full is told by a plain SIGIO, which says no more than "something was lost".
 *
 * Shown with the signals blocked, as a server that waits for them has them: one message after another for each
 * of 100 socket pairs, then what can be taken from the queue is counted.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 100, ROUNDS = 10, QUEUE = 64 };

static int sender[DESCRIPTORS], receiver[DESCRIPTORS];

struct taken {
	int realtime, standard;
};

/* Number 0 is the default: SIGIO, without a queue. */
static void open_descriptors(int number)
{
	for (int i = 0; i < DESCRIPTORS; i++) {
		int pair[2];
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
		sender[i] = pair[0];
		receiver[i] = pair[1];
		must(fcntl(receiver[i], F_SETOWN, getpid()));
		must(fcntl(receiver[i], F_SETSIG, number));
		must(fcntl(receiver[i], F_SETFL, O_NONBLOCK | O_ASYNC));
	}
}

static struct taken take_all(const sigset_t *blocked)
{
	struct taken taken = {0};
	struct timespec no_wait = {0};
	int number;
	while ((number = sigtimedwait(blocked, NULL, &no_wait)) > 0)
		if (number == SIGIO)
			taken.standard++;
		else
			taken.realtime++;
	if (errno != EAGAIN)
		probe_fail("sigtimedwait");
	return taken;
}

static void count(const char *key, int number, const sigset_t *blocked)
{
	open_descriptors(number);
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < DESCRIPTORS; i++)
			probe_write(sender[i], 1);
	struct taken taken = take_all(blocked);
	facts_open(key);
	fact_int("messages", ROUNDS * DESCRIPTORS);
	fact_int("became_ready", DESCRIPTORS); /* nothing is read, so only a first message changes it */
	fact_int("realtime", taken.realtime);
	fact_int("standard", taken.standard);
	fact_real("per_message", (double)(taken.realtime + taken.standard) / (ROUNDS * DESCRIPTORS));
	fact_real("per_becoming_ready", (double)(taken.realtime + taken.standard) / DESCRIPTORS);
	facts_close();
	for (int i = 0; i < DESCRIPTORS; i++) {
		close(receiver[i]);
		close(sender[i]);
	}
	take_all(blocked); /* an end of the stream is an event, too */
}

/* The limit is the user's: what other processes have queued counts, too, so at most QUEUE of ours fit. */
static void limit_queue(rlim_t signals)
{
	struct rlimit limit;
	must(getrlimit(RLIMIT_SIGPENDING, &limit));
	if (limit.rlim_max < signals)
		probe_skip("RLIMIT_SIGPENDING is below %d; raise it with ulimit -i", (int)signals);
	limit.rlim_cur = signals;
	must(setrlimit(RLIMIT_SIGPENDING, &limit));
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"How many signals tell of how many events: SIGIO, real-time, and a full queue.");
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGIO);
	sigaddset(&blocked, SIGRTMIN);
	must(sigprocmask(SIG_BLOCK, &blocked, NULL));

	count("standard", 0, &blocked);
	limit_queue(2 * ROUNDS * DESCRIPTORS);
	count("realtime", SIGRTMIN, &blocked);
	limit_queue(QUEUE);
	count("full_queue", SIGRTMIN, &blocked);
	return probe_end();
}
