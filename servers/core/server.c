#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

volatile sig_atomic_t server_stopping;
sigset_t server_wait_mask;

static const char *server_name = "server";
static const char *unlink_path; /* the Unix socket's file, which is ours to remove */

static void say(const char *format, va_list arguments)
{
	fprintf(stderr, "%s: ", server_name);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say(format, arguments);
	exit(1);
}

void cannot_run(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say(format, arguments);
	exit(77);
}

bool server_child_ended(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: process %d was killed by SIG%s\n", server_name, (int)pid,
			sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		fprintf(stderr, "%s: process %d ended with status %d\n", server_name, (int)pid,
			WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void on_stop(int signal)
{
	(void)signal;
	server_stopping = 1;
}

static void set_up_signals(void)
{
	struct sigaction stop = {.sa_handler = on_stop}; /* no SA_RESTART: a stop ends the wait */
	sigemptyset(&stop.sa_mask);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigset_t stops;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	sigprocmask(SIG_BLOCK, &stops, &server_wait_mask);
	sigdelset(&server_wait_mask, SIGTERM);
	sigdelset(&server_wait_mask, SIGINT);
}

/* The bench starts thousands of connections; the hard limit is what the host allows, the soft one only a
 * default. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("setrlimit RLIMIT_NOFILE: %s", strerror(errno));
}

static int listen_unix(const struct options *options, int socket_flags)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, options->unix_path, strlen(options->unix_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | socket_flags, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
		die("bind unix:%s: %s; choose a path that does not exist yet, in a folder you may write to",
			options->unix_path, strerror(errno));
	unlink_path = options->unix_path;
	return fd;
}

static int listen_tcp(const struct options *options, int socket_flags)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)options->port)};
	bool is_v4 = inet_pton(AF_INET, options->bind, &v4.sin_addr) == 1;
	if (!is_v4)
		inet_pton(AF_INET6, options->bind, &v6.sin6_addr);
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | socket_flags, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	int on = 1; /* REUSEADDR: a fresh server may take the port of one whose connections are in TIME_WAIT */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
		die("setsockopt: %s", strerror(errno));
	const struct sockaddr *address = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	if (bind(fd, address, is_v4 ? sizeof v4 : sizeof v6) != 0)
		die("bind %s port %u: %s; choose another --port (0 takes a free one) or --bind", options->bind,
			options->port, strerror(errno));
	return fd;
}

int server_start(const struct options *options, int socket_flags)
{
	server_name = options->name;
	portable_die_with_parent(); /* no server outlives its bench, not even a stopped one */
	portable_wake_in_time();    /* the default lets select, poll and epoll sleep 50 us too long */
	raise_descriptor_limit();
	set_up_signals();
	int fd = options->unix_path ? listen_unix(options, socket_flags) : listen_tcp(options, socket_flags);
	if (listen(fd, options->backlog) != 0)
		die("listen: %s", strerror(errno));
	return fd;
}

void server_ready(int listen_fd, const struct options *options)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof address;
	if (getsockname(listen_fd, (struct sockaddr *)&address, &size) != 0)
		die("getsockname: %s", strerror(errno));
	if (address.ss_family == AF_UNIX)
		printf("READY unix=%s\n", options->unix_path);
	else /* the port stands in the same place in both families */
		printf("READY port=%u\n", ntohs(((struct sockaddr_in *)&address)->sin_port));
	fflush(stdout);
}

void count_open(struct counters *counters)
{
	counters->accepted++;
	if (++counters->open > counters->peak)
		counters->peak = counters->open;
}

void count_close(struct counters *counters)
{
	counters->closed++;
	counters->open--;
}

void count_error(struct counters *counters)
{
	counters->errors[errno > 0 && errno < SERVER_ERRNOS ? errno : 0]++;
}

void counters_add(struct counters *sum, const struct counters *counters)
{
	sum->accepted += counters->accepted;
	sum->closed += counters->closed;
	sum->wakeups += counters->wakeups;
	sum->events += counters->events;
	sum->eagain += counters->eagain;
	sum->open += counters->open;
	sum->peak += counters->peak;
	for (int i = 0; i < SERVER_ERRNOS; i++)
		sum->errors[i] += counters->errors[i];
}

static void print_workers(const struct counters *each, const uint64_t *requests, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++)
		printf("%s{\"accepted\": %ju, \"requests\": %ju, \"wakeups\": %ju, \"eagain\": %ju}",
			i ? ", " : ", \"workers\": [", (uintmax_t)each[i].accepted, (uintmax_t)requests[i],
			(uintmax_t)each[i].wakeups, (uintmax_t)each[i].eagain);
	if (workers)
		printf("]");
}

int server_report(const struct counters *counters, uint64_t requests)
{
	return server_report_workers(counters, requests, NULL, NULL, 0);
}

int server_report_workers(const struct counters *counters, uint64_t requests, const struct counters *each,
	const uint64_t *of_each, unsigned workers)
{
	if (unlink_path)
		unlink(unlink_path);
	printf("{\"accepted\": %ju, \"closed\": %ju, \"requests\": %ju, \"wakeups\": %ju, \"events\": %ju, "
	       "\"eagain\": %ju",
		(uintmax_t)counters->accepted, (uintmax_t)counters->closed, (uintmax_t)requests,
		(uintmax_t)counters->wakeups, (uintmax_t)counters->events, (uintmax_t)counters->eagain);
	printf(", \"errors\": {");
	const char *separator = "";
	for (int i = 0; i < SERVER_ERRNOS; i++) {
		if (counters->errors[i] == 0)
			continue;
		printf("%s\"%s\": %ju", separator, i ? portable_errno_name(i) : "other",
			(uintmax_t)counters->errors[i]);
		separator = ", ";
	}
	printf("}, \"peak_connections\": %ju", (uintmax_t)counters->peak);
	print_workers(each, of_each, workers);
	printf("}\n");
	return fflush(stdout) == 0 ? 0 : 1;
}
