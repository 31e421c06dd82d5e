/* What every server does alike before it waits and after: limits, signals, listener, READY, counters, report.
 */
#ifndef SERVER_H
#define SERVER_H

#include "options.h"
#include "portable.h"

#include <signal.h>

enum { SERVER_ERRNOS = 134 }; /* Linux's last errno is EHWPOISON, 133 */

struct counters { /* one per thread */
	uint64_t accepted, closed;
	uint64_t wakeups; /* returns from the wait */
	uint64_t events;  /* what those returns reported */
	uint64_t eagain;
	uint64_t open, peak; /* connections now, and at most */
	uint64_t errors[SERVER_ERRNOS];
};

/* Set by SIGTERM and SIGINT. */
extern volatile sig_atomic_t server_stopping;

/* The signal mask for the wait. SIGTERM and SIGINT are blocked but while a server waits with this mask
 * (pselect, ppoll, epoll_pwait2, io_uring_enter), so that none arrives between looking at server_stopping and
 * waiting. */
extern sigset_t server_wait_mask;

/* Raises the descriptor limit, dies with its parent, sets up signals and the listener, which it returns: a
 * listening socket with TCP_NODELAY and the flags of socket(2) (SOCK_NONBLOCK or 0). Failing, it ends the
 * process, status 1. */
int server_start(const struct options *, int socket_flags);

/* The first line of stdout: from here on clients may connect. */
void server_ready(int listen_fd, const struct options *);

void count_open(struct counters *);
void count_close(struct counters *);
void count_error(struct counters *); /* the errno of the call that just failed */
void counters_add(struct counters *sum, const struct counters *);

/* The contract's last line of stdout. Returns main's exit status. */
int server_report(const struct counters *, uint64_t requests);

/* The same, with what each of several workers did; the sum's peak is then the sum of theirs. */
int server_report_workers(const struct counters *sum, uint64_t requests, const struct counters *each,
	const uint64_t *requests_of_each, unsigned workers);

/* For models of several processes: did this child, whose wait status it is, end well? Else stderr hears how. */
bool server_child_ended(pid_t, int status);

/* Ends the process with status 1 and "NAME: WHAT: why" on stderr. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with status 77: this host cannot run this model. */
_Noreturn void cannot_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
