#include "options.h"

#include "portable.h"
#include "work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define VERSION "muxbench 1"

static const char *const protocols[] = {"echo", "greet", "http", "frame"};
enum { PROTOCOLS = sizeof protocols / sizeof protocols[0] };

enum {
	HELP,
	VERSION_,
	DESCRIBE,
	PORT,
	PROTOCOL,
	DELAY,
	DELAY_BLOCKS,
	WORKERS,
	BACKLOG,
	BIND,
	LISTEN,
	LOOPS,
	FILE_PATH,
};

static const struct option longs[] = {
	{"help", no_argument, 0, HELP},
	{"version", no_argument, 0, VERSION_},
	{"describe", no_argument, 0, DESCRIBE},
	{"port", required_argument, 0, PORT},
	{"protocol", required_argument, 0, PROTOCOL},
	{"delay", required_argument, 0, DELAY},
	{"delay-blocks", no_argument, 0, DELAY_BLOCKS},
	{"workers", required_argument, 0, WORKERS},
	{"backlog", required_argument, 0, BACKLOG},
	{"bind", required_argument, 0, BIND},
	{"listen", required_argument, 0, LISTEN},
	{"loops-per-us", required_argument, 0, LOOPS},
	{"file", required_argument, 0, FILE_PATH},
	{0},
};

static const char *const help[] = {
	[PORT] = "port N             TCP port; 0, the default, lets the kernel choose, and READY names it",
	[BIND] = "bind ADDR          numeric address to listen on; default 127.0.0.1",
	[LISTEN] = "listen unix:PATH   listen on a Unix socket instead; PATH must not exist",
	[PROTOCOL] = "protocol P         what to speak (docs/protocols.md has the bytes), the first by default",
	[DELAY] =
		"delay TIME         wait before each greeting and http reply: 100us, 1ms, 2s; a bare number is "
		"seconds",
	[DELAY_BLOCKS] = "delay-blocks       sleep through delays on the serving thread: the classical mistake "
			 "of an event loop",
	[WORKERS] = "workers N          worker threads or processes",
	[BACKLOG] = "backlog N          length of the accept queue; default and limit: net.core.somaxconn",
	[LOOPS] = "loops-per-us N     speed of this CPU at work, for http's /work/US and frame, as "
		  "build/calibrate prints it",
	[FILE_PATH] = "file PATH          regular file whose blocks of 4,096 bytes http's /file/N replies with",
	[DESCRIBE] = "describe           what this server is, as JSON",
	[HELP] = "help, --version",
};

/* In the order of --help. */
static const int shown[] = {
	WORKERS, PORT, BIND, LISTEN, PROTOCOL, DELAY, DELAY_BLOCKS, BACKLOG, LOOPS, FILE_PATH, DESCRIBE, HELP};

static bool speaks(const struct model *model, enum protocol protocol)
{
	return model->protocols == 0 || model->protocols & 1U << protocol;
}

/* No option without a use for it. */
static bool has(const struct model *model, int option)
{
	switch (option) {
	case WORKERS:
		return model->workers > 0;
	case DELAY:
		return speaks(model, PROTOCOL_GREET) || speaks(model, PROTOCOL_HTTP);
	case DELAY_BLOCKS:
		return has(model, DELAY) || speaks(model, PROTOCOL_FRAME);
	case LOOPS:
		return speaks(model, PROTOCOL_HTTP) || speaks(model, PROTOCOL_FRAME);
	case FILE_PATH:
		return speaks(model, PROTOCOL_HTTP);
	case LISTEN:
		return !model->tcp_only;
	default:
		return true;
	}
}

void options_refuse(const char *name, const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s: ", name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "; try `%s --help`\n", name);
	exit(2);
}

bool options_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"", 1e9}};
	char *unit;
	double amount = strtod(text, &unit);
	size_t plain = strspn(text, "0123456789."); /* strtod also reads signs, blanks, exponents, 0x, inf */
	if (plain == 0 || unit != text + plain)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		double value = amount * units[i].ns;
		if (strcmp(unit, units[i].unit) != 0 || value > 3600e9)
			continue;
		*ns = (uint64_t)(value + 0.5);
		return true;
	}
	return false;
}

static unsigned long number(const char *name, const char *option, unsigned long min, unsigned long max)
{
	char *end;
	errno = 0;
	unsigned long value = strtoul(optarg, &end, 10);
	if (optarg[0] < '0' || optarg[0] > '9' || *end || errno || value < min || value > max)
		options_refuse(
			name, "--%s takes a whole number from %lu to %lu, not '%s'", option, min, max, optarg);
	return value;
}

static const char *option_name(int value)
{
	const struct option *option = longs;
	while (option->val != value)
		option++;
	return option->name;
}

/* The names of the protocols it speaks, with this between them. */
static const char *spoken(const struct model *model, const char *separator)
{
	static char names[64];
	names[0] = '\0';
	for (int i = 0; i < PROTOCOLS; i++)
		if (speaks(model, (enum protocol)i))
			strcat(strcat(names, names[0] ? separator : ""), protocols[i]);
	return names;
}

static _Noreturn void refuse_option(const struct model *model, int option)
{
	if (option == WORKERS || option == LISTEN)
		options_refuse(model->name, "this model has no --%s", option_name(option));
	options_refuse(model->name, "this model speaks %s, which has no use for --%s", spoken(model, ", "),
		option_name(option));
}

static enum protocol protocol(const struct model *model)
{
	for (int i = 0; i < PROTOCOLS; i++) {
		if (strcmp(optarg, protocols[i]) != 0)
			continue;
		if (!speaks(model, (enum protocol)i))
			options_refuse(model->name,
				"this model speaks %s, not %s; `make list` shows those that do",
				spoken(model, ", "), optarg);
		return (enum protocol)i;
	}
	options_refuse(model->name, "--protocol takes one of %s, not '%s'", spoken(model, ", "), optarg);
}

static const char *unix_path(const char *name)
{
	if (strncmp(optarg, "unix:", 5) != 0 || optarg[5] == '\0')
		options_refuse(name, "--listen takes unix:PATH, not '%s'", optarg);
	if (strlen(optarg + 5) >= sizeof((struct sockaddr_un *)0)->sun_path)
		options_refuse(name, "--listen: a Unix socket's path has at most %zu bytes",
			sizeof((struct sockaddr_un *)0)->sun_path - 1);
	return optarg + 5;
}

static const char *address(const char *name)
{
	struct in6_addr any;
	if (inet_pton(AF_INET, optarg, &any) != 1 && inet_pton(AF_INET6, optarg, &any) != 1)
		options_refuse(
			name, "--bind takes a numeric address such as 127.0.0.1 or ::1, not '%s'", optarg);
	return optarg;
}

/* Without the page cache, or it would be memory that is measured; with it where the file system knows no
 * O_DIRECT (tmpfs). What is left at the end of the file, less than a block, is not served. */
static void open_file(const char *name, const char *path, struct core *core)
{
	struct stat about;
	if (stat(path, &about) != 0)
		options_refuse(name, "--file %s: %s", path, strerror(errno));
	if (!S_ISREG(about.st_mode))
		options_refuse(name, "--file takes a regular file, and %s is none", path);
	core->file_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (core->file_fd < 0 && errno == EINVAL)
		core->file_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (core->file_fd < 0)
		options_refuse(name, "--file %s: %s", path, strerror(errno));
	core->file_blocks = (uint64_t)about.st_size / 4096;
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

static void describe(const struct model *model, const struct options *options)
{
	printf("{\"name\": ");
	print_string(model->name);
	printf(", \"thesis\": ");
	print_string(model->thesis);
	printf(", \"protocols\": [\"%s\"], \"options\": [", spoken(model, "\", \""));
	const char *separator = "";
	for (const struct option *option = longs; option->name; option++) {
		if (option->val <= DESCRIBE || !has(model, option->val))
			continue;
		printf("%s\"%s\"", separator, option->name);
		separator = ", ";
	}
	if (model->knobs)
		knobs_describe(model->knobs);
	long at_once =
		model->clients_at_once == OPTIONS_WORKERS ? (long)options->workers : model->clients_at_once;
	if (at_once)
		printf("], \"clients_at_once\": %ld, \"needs\": [", at_once);
	else
		printf("], \"clients_at_once\": null, \"needs\": [");
	if (model->needs[0])
		print_string(model->needs);
	printf("], \"exceptions\": [");
	for (const char *const *exception = model->exceptions; *exception; exception++) {
		printf("%s", exception == model->exceptions ? "" : ", ");
		print_string(*exception);
	}
	printf("]}\n");
}

static void print_help(const struct model *model)
{
	printf("%s: %s\n\nUsage: %s [OPTION]...\n", model->name, model->thesis, model->name);
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
		if (!has(model, shown[i]))
			continue;
		printf("  --%s", help[shown[i]]);
		if (shown[i] == PROTOCOL)
			printf(": %s", spoken(model, ", "));
		if (shown[i] == WORKERS)
			printf("; default %u", model->workers);
		putchar('\n');
	}
	if (model->knobs)
		knobs_help(model->knobs);
	printf("It prints READY and its port, serves until SIGTERM, and prints its counters as one line of "
	       "JSON.\n");
}

static void check(const struct options *options)
{
	if (options->core.delay_ns && options->core.protocol == PROTOCOL_ECHO)
		options_refuse(
			options->name, "--delay needs --protocol greet or http: echo has no request to delay");
	if (options->core.delay_ns && options->core.protocol == PROTOCOL_FRAME)
		options_refuse(
			options->name, "--delay needs --protocol greet or http: frame carries its own delays");
	if (options->file && options->core.protocol != PROTOCOL_HTTP)
		options_refuse(options->name, "--file needs --protocol http: only its /file/N reads from it");
	if (options->unix_path && options->port)
		options_refuse(options->name, "--port and --listen are two places to listen; give one");
}

struct options options_parse(const struct model *model, int argc, char **argv)
{
	const char *name = model->name;
	struct options options = {
		.name = name, .bind = "127.0.0.1", .backlog = SOMAXCONN, .workers = model->workers};
	bool describe_only = false;
	int option;
	opterr = 0;
	if (model->knobs)
		knobs_take(name, model->knobs, &argc, argv);
	while (!speaks(model, options.core.protocol))
		options.core.protocol++;
	while ((option = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		if (!has(model, option))
			refuse_option(model, option);
		switch (option) {
		case HELP:
			print_help(model);
			exit(0);
		case VERSION_:
			printf("%s (%s)\n", name, VERSION);
			exit(0);
		case DESCRIBE:
			describe_only = true;
			break;
		case PORT:
			options.port = (unsigned)number(name, "port", 0, 65535);
			break;
		case PROTOCOL:
			options.core.protocol = protocol(model);
			break;
		case DELAY:
			if (!options_time(optarg, &options.core.delay_ns))
				options_refuse(name,
					"--delay takes a time of at most an hour, such as 100us, 1ms or 2s, "
					"not '%s'",
					optarg);
			break;
		case DELAY_BLOCKS:
			options.core.delay_blocks = true;
			break;
		case WORKERS:
			options.workers = (unsigned)number(name, "workers", 1, 4096);
			break;
		case BACKLOG:
			options.backlog = (int)number(name, "backlog", 0, 1 << 30);
			break;
		case BIND:
			options.bind = address(name);
			break;
		case LISTEN:
			options.unix_path = unix_path(name);
			break;
		case LOOPS:
			options.core.loops_per_us = number(name, "loops-per-us", 1, 1000000);
			break;
		case FILE_PATH:
			options.file = optarg;
			break;
		case ':':
			options_refuse(name, "%s needs a value", argv[optind - 1]);
		default:
			options_refuse(name, "unknown option '%s'", argv[optind - 1]);
		}
	}
	if (optind < argc)
		options_refuse(name, "unexpected argument '%s'", argv[optind]);
	check(&options);
	if (describe_only) {
		describe(model, &options);
		exit(0);
	}
	if (options.file)
		open_file(name, options.file, &options.core);
	if (options.core.protocol >= PROTOCOL_HTTP && options.core.loops_per_us == 0)
		options.core.loops_per_us = work_calibrate();
	return options;
}
