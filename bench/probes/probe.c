#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LIMIT_S = 5,
	REAP_MS = 1000,
	DEPTH = 8,
	CHUNK = 65536,
};

/* --- life
 * ------------------------------------------------------------------------------------------------------- */

static FILE *facts;
static char *facts_text;
static size_t facts_length;

static char farewell[128]; /* made beforehand: a signal's handler may not print */

/* Children need no hand here: they die with us. */
static void give_up(int number)
{
	(void)number;
	ssize_t told = write(STDERR_FILENO, farewell, strlen(farewell));
	(void)told;
	_exit(1);
}

static void limit_time(void)
{
	const char *longer = getenv("PROBE_LIMIT_S");
	int limit_s = longer && atoi(longer) > 0 ? atoi(longer) : LIMIT_S;
	snprintf(farewell, sizeof farewell, "%s: gave up after %d seconds; is this host overloaded?\n",
		program_invocation_short_name, limit_s);
	signal(SIGALRM, give_up);
	alarm((unsigned)limit_s);
}

static int words(const char *text)
{
	int count = 0;
	for (const char *at = text; *at; at++)
		count += *at != ' ' && (at == text || at[-1] == ' ');
	return count;
}

void probe_begin(int argc, char **argv, const char *arguments, const char *shows)
{
	const char *name = program_invocation_short_name;
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		printf("%s: %s\n\nUsage: %s%s%s\nIt prints what it saw as one JSON object, within %d "
		       "seconds.\n",
			name, shows, name, *arguments ? " " : "", arguments, LIMIT_S);
		exit(0);
	}
	if (argc - 1 != words(arguments)) {
		fprintf(stderr, "%s: takes %s, not %d argument%s; try `%s --help`\n", name,
			*arguments ? arguments : "no argument", argc - 1, argc == 2 ? "" : "s", name);
		exit(2);
	}
	signal(SIGPIPE, SIG_IGN);
	limit_time();
	facts = open_memstream(&facts_text, &facts_length);
	if (!facts)
		probe_fail("no memory for the facts");
	facts_open(NULL);
	fact_text("probe", name);
	facts_open("facts");
}

int probe_end(void)
{
	facts_close();
	facts_close();
	if (fclose(facts) != 0 || puts(facts_text) < 0 || fflush(stdout) != 0)
		probe_fail("cannot print the facts: %s", strerror(errno));
	free(facts_text);
	return 0;
}

static _Noreturn void leave(int status, const char *format, va_list arguments)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	_exit(status);
}

void probe_fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	leave(1, format, arguments);
}

void probe_skip(const char *reason, ...)
{
	va_list arguments;
	va_start(arguments, reason);
	leave(77, reason, arguments);
}

void probe_must(const char *call)
{
	probe_fail("%s: %s", call, strerror(errno));
}

/* --- facts as JSON
 * ------------------------------------------------------------------------------------------------ */

static char closing[DEPTH]; /* of what is open, outermost first */
static bool holds_some[DEPTH];
static int depth;

static void quoted(const char *text)
{
	fputc('"', facts);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20)
			fprintf(facts, "\\u%04x", c);
		else
			fprintf(facts, c == '"' || c == '\\' ? "\\%c" : "%c", c);
	}
	fputc('"', facts);
}

/* Objects go down the page, lists along the line. */
static void put_key(const char *key)
{
	if (depth == 0)
		return;
	bool in_list = closing[depth - 1] == ']';
	if (in_list == (key != NULL))
		probe_fail("a fact in an object has a key, a fact in a list has none (%s)", key ? key : "none");
	if (holds_some[depth - 1])
		fputs(in_list ? ", " : ",", facts);
	holds_some[depth - 1] = true;
	if (!in_list) {
		fprintf(facts, "\n%*s", 2 * depth, "");
		quoted(key);
		fputs(": ", facts);
	}
}

static void open_with(const char *key, char opens, char closes)
{
	put_key(key);
	if (depth == DEPTH)
		probe_fail("facts are nested more than %d deep", DEPTH);
	fputc(opens, facts);
	closing[depth] = closes;
	holds_some[depth++] = false;
}

void facts_open(const char *key)
{
	open_with(key, '{', '}');
}

void facts_list(const char *key)
{
	open_with(key, '[', ']');
}

void facts_close(void)
{
	if (depth-- == 0)
		probe_fail("more facts closed than opened");
	if (closing[depth] == '}')
		fprintf(facts, "\n%*s", 2 * depth, "");
	fputc(closing[depth], facts);
}

void fact_int(const char *key, long long value)
{
	put_key(key);
	fprintf(facts, "%lld", value);
}

void fact_real(const char *key, double value)
{
	put_key(key);
	if (isfinite(value))
		fprintf(facts, "%.9g", value);
	else
		fputs("null", facts);
}

void fact_bool(const char *key, bool value)
{
	put_key(key);
	fputs(value ? "true" : "false", facts);
}

void fact_text(const char *key, const char *value)
{
	put_key(key);
	quoted(value);
}

void fact_error(const char *key, int error)
{
	const char *name = strerrorname_np(error);
	fact_text(key, error == 0 ? "none" : name ? name : "unknown");
}

/* --- children, threads, waits
 * --------------------------------------------------------------------------------------- */

pid_t probe_fork(void)
{
	pid_t parent = getpid();
	pid_t child = must(fork());
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1); /* it died before we asked */
	}
	return child;
}

int probe_reap(pid_t child)
{
	int status;
	uint64_t start = clock_now_ns();
	while (must(waitpid(child, &status, WNOHANG)) == 0) {
		if (probe_us_since(start) > REAP_MS * 1e3) {
			kill(child, SIGKILL);
			probe_fail("a child did not end within %d ms", REAP_MS);
		}
		probe_sleep_ms(1);
	}
	return status;
}

pthread_t probe_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, body, argument);
	if (error)
		probe_fail("pthread_create: %s", strerror(error));
	return thread;
}

static _Noreturn void make_call(long (*call)(void *), void *argument, int report_fd)
{
	struct outcome outcome = {.returned = true, .state = '-'};
	long slept = probe_slept();
	uint64_t start = clock_now_ns();
	outcome.value = call(argument);
	outcome.error = outcome.value == -1 ? errno : 0;
	outcome.took_us = probe_us_since(start);
	outcome.slept = probe_slept() - slept;
	_exit(write(report_fd, &outcome, sizeof outcome) == sizeof outcome ? 0 : 1);
}

/* A child that still wants a CPU after that time has not been put to sleep: on a busy host it is waited for. */
static bool returns(pid_t child, int report_fd, unsigned patience_ms)
{
	bool told = probe_ready(report_fd, POLLIN, (int)patience_ms);
	while (!told && probe_state(child) != 'S')
		told = probe_ready(report_fd, POLLIN, 10);
	return told;
}

struct outcome probe_call(long (*call)(void *), void *argument, unsigned patience_ms)
{
	int report[2];
	must(pipe2(report, O_CLOEXEC));
	uint64_t start = clock_now_ns();
	pid_t child = probe_fork();
	if (child == 0)
		make_call(call, argument, report[1]);
	close(report[1]);
	struct outcome outcome = {.returned = false, .state = '?'};
	if (!returns(child, report[0], patience_ms)) {
		outcome.took_us = probe_us_since(start);
		outcome.state = probe_state(child);
	} else if (read(report[0], &outcome, sizeof outcome) != sizeof outcome) {
		probe_fail("a child died in a call that was to return or to wait");
	}
	close(report[0]);
	kill(child, SIGKILL);
	probe_reap(child);
	return outcome;
}

void probe_sleep_ms(unsigned ms)
{
	struct timespec left = clock_timespec(ms * 1000000ULL);
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

double probe_us_since(uint64_t start_ns)
{
	return (double)(clock_now_ns() - start_ns) / 1e3;
}

bool probe_ready(int fd, short events, int patience_ms)
{
	struct pollfd watched = {.fd = fd, .events = events};
	return must(poll(&watched, 1, patience_ms)) == 1;
}

bool probe_until(bool (*holds)(void *), void *argument, unsigned patience_ms)
{
	uint64_t start = clock_now_ns();
	while (!holds(argument)) {
		if (probe_us_since(start) > patience_ms * 1e3)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	}
	return true;
}

static bool sleeps(void *task)
{
	char state = probe_state(*(pid_t *)task);
	return state == 'S' || state == 'D';
}

bool probe_asleep(pid_t task, unsigned patience_ms)
{
	return probe_until(sleeps, &task, patience_ms);
}

/* --- what the kernel says of a task
 * --------------------------------------------------------------------------------- */

/* The text behind "FIELD:" in /proc/TASK/status, which also finds threads; false if there is none. */
static bool status_line(pid_t task, const char *field, char *value, size_t size)
{
	char path[32], line[256];
	size_t length = strlen(field);
	snprintf(path, sizeof path, "/proc/%d/status", task);
	FILE *status = fopen(path, "re");
	bool found = false;
	while (status && !found && fgets(line, sizeof line, status)) {
		found = strncmp(line, field, length) == 0 && line[length] == ':';
		if (found)
			snprintf(value, size, "%s", line + length + 1 + strspn(line + length + 1, " \t"));
	}
	if (status)
		fclose(status);
	return found;
}

char probe_state(pid_t task)
{
	char value[64];
	return status_line(task, "State", value, sizeof value) ? value[0] : '?';
}

long probe_status(pid_t task, const char *field)
{
	char value[64];
	return status_line(task, field, value, sizeof value) ? strtol(value, NULL, 10) : -1;
}

double probe_wanted_us(pid_t task)
{
	char path[40];
	unsigned long long ran_ns, queued_ns;
	snprintf(path, sizeof path, "/proc/%d/schedstat", task);
	FILE *schedstat = fopen(path, "re");
	bool told = schedstat && fscanf(schedstat, "%llu %llu", &ran_ns, &queued_ns) == 2;
	if (schedstat)
		fclose(schedstat);
	return told ? (double)(ran_ns + queued_ns) / 1e3 : (double)NAN;
}

double probe_cpu_us(void)
{
	struct timespec used;
	must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used));
	return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

long probe_slept(void)
{
	struct rusage usage;
	must(getrusage(RUSAGE_THREAD, &usage));
	return usage.ru_nvcsw;
}

/* --- descriptors
 * ---------------------------------------------------------------------------------------------------- */

int probe_listen(int backlog, struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(bind(fd, (struct sockaddr *)address, length));
	must(listen(fd, backlog));
	must(getsockname(fd, (struct sockaddr *)address, &length));
	return fd;
}

int probe_listen_beside(int backlog, struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), on = 1;
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
	must(bind(fd, (struct sockaddr *)address, length));
	must(listen(fd, backlog));
	must(getsockname(fd, (struct sockaddr *)address, &length));
	return fd;
}

bool probe_select(int fd, short event)
{
	bool exceptional = event == POLLPRI;
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return must(select(fd + 1, exceptional ? NULL : &set, NULL, exceptional ? &set : NULL,
		       &(struct timeval){0})) == 1;
}

uint32_t probe_epoll(int fd, uint32_t events, int patience_ms)
{
	int epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = {.events = events};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event));
	int told = must(epoll_wait(epoll_fd, &event, 1, patience_ms));
	close(epoll_fd);
	return told == 1 ? event.events : 0;
}

unsigned long probe_descriptors(void)
{
	struct rlimit limit;
	must(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &limit));
	return limit.rlim_cur;
}

void probe_tcp_pair(int pair[2])
{
	struct sockaddr_in address;
	int listener = probe_listen(1, &address), on = 1;
	pair[0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(pair[0], (struct sockaddr *)&address, sizeof address));
	pair[1] = must(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	close(listener);
	for (int i = 0; i < 2; i++)
		must(setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

int probe_file(void)
{
	char path[4096];
	const char *folder = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/muxbench-probe.XXXXXX", folder && *folder ? folder : "/var/tmp");
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		probe_skip("no file can be made as %s: %s", path, strerror(errno));
	must(unlink(path));
	return fd;
}

void probe_nonblock(int fd, bool on)
{
	int flags = must(fcntl(fd, F_GETFL));
	must(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int probe_unread(int fd)
{
	int bytes;
	must(ioctl(fd, FIONREAD, &bytes));
	return bytes;
}

static char chunk[CHUNK];

size_t probe_fill(int fd)
{
	size_t total = 0;
	ssize_t n;
	while ((n = write(fd, chunk, sizeof chunk)) > 0)
		total += (size_t)n;
	if (errno != EAGAIN)
		probe_fail("write until it is full: %s", strerror(errno));
	return total;
}

size_t probe_drain(int fd)
{
	size_t total = 0;
	ssize_t n;
	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		total += (size_t)n;
	if (n < 0 && errno != EAGAIN)
		probe_fail("read until it is empty: %s", strerror(errno));
	return total;
}

void probe_write(int fd, size_t bytes)
{
	while (bytes > 0)
		bytes -= (size_t)must(write(fd, chunk, bytes < sizeof chunk ? bytes : sizeof chunk));
}
