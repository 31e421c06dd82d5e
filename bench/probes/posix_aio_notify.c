/* posix_aio_notify: how does a process learn that a POSIX asynchronous operation is done?
 *
 * aio_read() hands the operation over and returns at once, also for a socket with nothing to read. The program
 * then has four ways: a signal that carries a value of its choice (SIGEV_SIGNAL), a function called in a thread
 * that the library starts (SIGEV_THREAD), waiting in aio_suspend(), or asking now and then with aio_error(),
 * and the result is fetched once, with aio_return(). In glibc all of this happens in user space: the operation
 * is a read() in a helper thread. So aio_error() only looks at a field, and to show it, a child asks it in
 * seccomp's strict mode, in which the kernel kills whoever makes any system call but read, write and _exit.
 *
 * The peer is silent for 50 ms each time.
 * Takes about 0.3 s.
 */
#include "probe.h"

#include <aio.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SILENCE_MS = 50, HANDING_OVER_MS = 20, PATIENCE_MS = 1000, ASKED = 100, COOKIE = 4711 };

static int ours, theirs;
static char buffer[64];

static void *speak_later(void *unused)
{
	probe_sleep_ms(SILENCE_MS);
	probe_write(theirs, 5);
	return unused;
}

static bool is_over(void *operation)
{
	return aio_error(operation) != EINPROGRESS;
}

/* Queued, and what has been said of it at once. */
static void start(struct aiocb *operation)
{
	operation->aio_fildes = ours;
	operation->aio_buf = buffer;
	operation->aio_nbytes = sizeof buffer;
	uint64_t begin = clock_now_ns();
	must(aio_read(operation));
	double queued_us = probe_us_since(begin);
	fact_real("queued_us", queued_us);
	fact_error("at_first", aio_error(operation));
}

static void finish(struct aiocb *operation, pthread_t speaker, bool notified)
{
	fact_bool("notified", notified);
	fact_error("error", aio_error(operation));
	fact_int("returned", aio_return(operation));
	pthread_join(speaker, NULL);
	facts_close();
}

static void by_signal(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	struct aiocb operation = {.aio_sigevent = {.sigev_notify = SIGEV_SIGNAL,
					  .sigev_signo = SIGRTMIN,
					  .sigev_value.sival_int = COOKIE}};
	siginfo_t info;
	struct timespec patience = clock_timespec(PATIENCE_MS * 1000000ULL);
	facts_open("signal");
	start(&operation);
	pthread_t speaker = probe_thread(speak_later, NULL);
	bool came = sigtimedwait(&set, &info, &patience) == SIGRTMIN;
	fact_bool("carries_our_value", came && info.si_value.sival_int == COOKIE);
	finish(&operation, speaker, came);
}

static volatile int called_with;

static void called(union sigval value)
{
	called_with = value.sival_int;
}

static bool was_called(void *unused)
{
	(void)unused;
	return called_with == COOKIE;
}

static void by_thread(void)
{
	struct aiocb operation = {.aio_sigevent = {.sigev_notify = SIGEV_THREAD,
					  .sigev_notify_function = called,
					  .sigev_value.sival_int = COOKIE}};
	facts_open("thread");
	start(&operation);
	pthread_t speaker = probe_thread(speak_later, NULL);
	finish(&operation, speaker, probe_until(was_called, NULL, PATIENCE_MS));
}

static void by_suspend(void)
{
	struct aiocb operation = {.aio_sigevent.sigev_notify = SIGEV_NONE};
	const struct aiocb *list[] = {&operation};
	struct timespec patience = clock_timespec(PATIENCE_MS * 1000000ULL);
	facts_open("aio_suspend");
	start(&operation);
	pthread_t speaker = probe_thread(speak_later, NULL);
	uint64_t begin = clock_now_ns();
	long slept = probe_slept();
	bool woken = aio_suspend(list, 1, &patience) == 0;
	fact_real("waited_us", probe_us_since(begin));
	fact_bool("slept", probe_slept() > slept);
	finish(&operation, speaker, woken);
}

/* In strict mode the child may not even ask who it is. */
static bool survives_strict_mode(void (*body)(void *), void *argument)
{
	pid_t child = probe_fork();
	if (child == 0) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
			_exit(77);
		body(argument);
		syscall(SYS_exit, 0);
	}
	int status = probe_reap(child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		probe_skip("this kernel, or a sandbox, has no seccomp strict mode");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void ask_often(void *operation)
{
	for (int i = 0; i < ASKED; i++)
		if (aio_error(operation) != EINPROGRESS)
			syscall(SYS_exit, 1);
}

static void make_a_call(void *unused)
{
	(void)unused;
	syscall(SYS_getppid);
}

static void by_asking(void)
{
	struct aiocb operation = {.aio_sigevent.sigev_notify = SIGEV_NONE};
	facts_open("aio_error");
	start(&operation);
	probe_sleep_ms(HANDING_OVER_MS); /* a helper that has the library's lock must not be copied */
	fact_bool("any_call_is_noticed", !survives_strict_mode(make_a_call, NULL));
	fact_bool("without_system_call", survives_strict_mode(ask_often, &operation));
	pthread_t speaker = probe_thread(speak_later, NULL);
	finish(&operation, speaker, probe_until(is_over, &operation, PATIENCE_MS));
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"POSIX AIO on a silent socket: queued at once, told by signal, thread, wait or question.");
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ours = pair[0];
	theirs = pair[1];
	by_signal();
	by_thread();
	by_suspend();
	by_asking();
	return probe_end();
}
