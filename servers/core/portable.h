/* What Linux and glibc have and the core uses, for systems that lack it: kqueue's page is at home on the BSDs
 * and on macOS. On Linux -DPORTABLE_FALLBACKS takes the same ways, so that they can be tested here. */
#ifndef PORTABLE_H
#define PORTABLE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif
#ifdef __FreeBSD__
#include <sys/procctl.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SIGPIPE is ignored anyway */
#endif
#ifndef O_DIRECT
#define O_DIRECT 0
#endif

/* The process is killed when its parent ends, where the system can do that. */
static inline void portable_die_with_parent(void)
{
#if defined(__linux__)
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#elif defined(__FreeBSD__)
	int number = SIGKILL;
	procctl(P_PID, 0, PROC_PDEATHSIG_CTL, &number);
#endif
}

/* Waits end when they are due, and not up to 50 us later, as is Linux's default. */
static inline void portable_wake_in_time(void)
{
#ifdef __linux__
	prctl(PR_SET_TIMERSLACK, 1UL);
#endif
}

/* ECONNRESET as "ECONNRESET"; "errno 54" where the C library does not know. The text stays until the next call.
 */
static inline const char *portable_errno_name(int error)
{
	static char number[24];
#ifdef __GLIBC__
	if (strerrorname_np(error))
		return strerrorname_np(error);
#endif
	snprintf(number, sizeof number, "errno %d", error);
	return number;
}

#if defined(__APPLE__) || defined(PORTABLE_FALLBACKS)

#undef SOCK_NONBLOCK
#undef SOCK_CLOEXEC
#define SOCK_NONBLOCK (1 << 28)
#define SOCK_CLOEXEC  (1 << 29)

/* Sets what SOCK_NONBLOCK and SOCK_CLOEXEC stand for on a descriptor that was just made, or passes its failure
 * on. */
static inline int portable_with_flags(int fd, int flags)
{
	if (fd < 0)
		return fd;
	int status = fcntl(fd, F_GETFL); /* on the BSDs accept() inherits O_NONBLOCK from the listener */
	status = flags & SOCK_NONBLOCK ? status | O_NONBLOCK : status & ~O_NONBLOCK;
	fcntl(fd, F_SETFL, status);
	if (flags & SOCK_CLOEXEC)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static inline int portable_socket(int domain, int type, int protocol)
{
	return portable_with_flags(socket(domain, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol), type);
}

static inline int portable_accept4(int listen_fd, struct sockaddr *address, socklen_t *size, int flags)
{
	return portable_with_flags(accept(listen_fd, address, size), flags);
}

static inline int portable_sleep_until(
	clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
	(void)flags, (void)left;
	struct timespec now;
	clock_gettime(clock, &now);
	long long ns = (until->tv_sec - now.tv_sec) * 1000000000LL + until->tv_nsec - now.tv_nsec;
	if (ns <= 0)
		return 0;
	nanosleep(&(struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)}, NULL);
	return EINTR; /* as if a signal had come: whoever waits looks at the clock again */
}

static inline int portable_poll(struct pollfd *one, const struct timespec *timeout)
{
	return poll(one, 1, (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000 + 1));
}

#define socket          portable_socket
#define accept4         portable_accept4
#define clock_nanosleep portable_sleep_until
#ifndef TIMER_ABSTIME
#define TIMER_ABSTIME 1
#endif

#else

/* Waits for one descriptor, no longer than that and a millisecond. */
static inline int portable_poll(struct pollfd *one, const struct timespec *timeout)
{
	return ppoll(one, 1, timeout, NULL);
}

#endif

#endif
