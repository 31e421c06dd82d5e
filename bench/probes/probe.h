/* What every probe shares. A probe is one page: it puts the kernel into the situation that a claim speaks of
 * and prints what it saw as one JSON object, with the probe's name as "probe" and an object of "facts".
 * Judging is left to the claims (bench/claims). A page's main function:
 *
 *	probe_begin(argc, argv, "", "What it shows, in one sentence.");
 *	fact_int("bytes", must(read(fd, buffer, sizeof buffer)));
 *	return probe_end();
 *
 * Exit status: 0 facts printed, 1 the probe itself broke, 2 usage, 77 this host cannot run it. Nothing reaches
 * stdout before probe_end(): a probe that breaks has printed no half of a fact.
 */
#ifndef PROBE_H
#define PROBE_H

#include "clock.h" /* clock_now_ns() */

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Answers --help; refuses any but the `arguments` named, as "SERVER FILE". Ignores SIGPIPE. From here on the
 * process has five seconds, or PROBE_LIMIT_S of the environment: SIGALRM is taken by that limit. */
void probe_begin(int argc, char **argv, const char *arguments, const char *shows);
int probe_end(void); /* prints the facts; 0, for main to return */

/* The end of the process with a line on stderr: status 1, and 77. */
_Noreturn void probe_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void probe_skip(const char *reason, ...) __attribute__((format(printf, 1, 2)));

/* The call's value, or the probe's end with the call's text and errno. A macro, to keep its type and text. */
#define must(call)                                                                                             \
	__extension__({                                                                                        \
		__typeof__(call) value_ = (call);                                                              \
		if (value_ == -1)                                                                              \
			probe_must(#call);                                                                     \
		value_;                                                                                        \
	})
_Noreturn void probe_must(const char *call);

/* A fact goes into the innermost object or list that is open; in a list, key is NULL. */
void facts_open(const char *key); /* { */
void facts_list(const char *key); /* [ */
void facts_close(void);
void fact_int(const char *key, long long value);
void fact_real(const char *key, double value); /* null where it is no finite number */
void fact_bool(const char *key, bool value);
void fact_text(const char *key, const char *value);
void fact_error(const char *key, int error); /* as "EAGAIN"; 0 as "none" */

/* A call made by a child with our descriptors, which is killed if it has not returned in time. */
struct outcome {
	bool returned;
	long value, slept; /* if returned; slept: how often the kernel put the caller to sleep in it */
	int error;         /* errno if value is -1, else 0 */
	char state;        /* else: what /proc said of it last, 'S': a sleep that a signal may end */
	double took_us;
};
struct outcome probe_call(long (*call)(void *), void *argument, unsigned patience_ms);

/* A child that dies with us; it leaves by _exit(). probe_reap: its wait status, within a second, or the probe's
 * end. */
pid_t probe_fork(void);
int probe_reap(pid_t child);
pthread_t probe_thread(void *(*body)(void *), void *argument);

void probe_sleep_ms(unsigned ms);
double probe_us_since(uint64_t start_ns);
bool probe_ready(int fd, short events, int patience_ms);                       /* poll() of one */
bool probe_until(bool (*holds)(void *), void *argument, unsigned patience_ms); /* asked every 0.2 ms */
bool probe_asleep(pid_t task, unsigned patience_ms);                           /* until it is in state S or D */

/* Of a process or thread: R, S, D, Z ..., or '?' if it is gone; the number in a line of /proc/TASK/status, or
 * -1; microseconds that it had a CPU or queued for one, which a busy host does not shorten, or NAN. And of the
 * calling thread: how often it was put to sleep so far (voluntary context switches), its CPU time. */
char probe_state(pid_t task);
long probe_status(pid_t task, const char *field);
double probe_wanted_us(pid_t task);
long probe_slept(void);
double probe_cpu_us(void);

int probe_listen(int backlog, struct sockaddr_in *address); /* on a port of 127.0.0.1 that the kernel chose */
void probe_tcp_pair(int pair[2]);                           /* connected over loopback, blocking, TCP_NODELAY */
int probe_file(void); /* regular, empty, without a name, in $TMPDIR or /var/tmp, where hosts have a disk */
/* The same, nonblocking and with SO_REUSEPORT, at *address: on its port if it has one. */
int probe_listen_beside(int backlog, struct sockaddr_in *address);
bool probe_select(int fd, short event); /* select(): readable, or POLLPRI: exceptional */
uint32_t probe_epoll(int fd, uint32_t events, int patience_ms); /* what an epoll of its own tells; 0: nothing */
unsigned long probe_descriptors(void);                          /* how many one may have, from now on */
void probe_nonblock(int fd, bool on);
int probe_unread(int fd);               /* FIONREAD: bytes that wait to be read */
size_t probe_fill(int fd);              /* bytes written until EAGAIN; fd must be nonblocking */
size_t probe_drain(int fd);             /* bytes read until EAGAIN or end of stream; likewise */
void probe_write(int fd, size_t bytes); /* all of them, or the probe's end */

#endif
