#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "distribution.h"
#include "options_parts.h"
#include "parse.h"

bool options_wrong(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return false;
}

static void list_choices(const char *const *choices, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (; *choices && used < size; choices++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *choices);
}

static bool set_choice(const struct row *row, const char *text, uint32_t *field, char *why, size_t size)
{
	char all[128];

	for (uint32_t i = 0; row->choices[i]; i++) {
		if (strcmp(row->choices[i], text) == 0) {
			*field = i;
			return true;
		}
	}
	list_choices(row->choices, all, sizeof(all));
	return options_wrong(why, size, "--%s %s: not known here; known are %s", row->name, text, all);
}

static bool set_number(const struct row *row, const char *text, uint64_t *field, char *why, size_t size)
{
	static const char *const examples[] = {[COUNT] = "a whole number such as 100 or 10k",
		[BYTES] = "a number of bytes such as 64 or 16KiB",
		[TIME] = "a time such as 100us, 1.5ms or 2s"};
	bool (*parse)(const char *, uint64_t *) = row->kind == COUNT   ? parse_count
						  : row->kind == BYTES ? parse_bytes
								       : parse_time_ns;
	uint64_t value;

	if (!parse(text, &value))
		return options_wrong(why, size, "--%s %s: expected %s", row->name, text, examples[row->kind]);
	if (value < row->min || value > row->max)
		return options_wrong(why, size, "--%s %s: expected %s from %llu to %llu", row->name, text,
			row->kind == TIME ? "nanoseconds" : "a number", (unsigned long long)row->min,
			(unsigned long long)row->max);
	*field = value;
	return true;
}

static bool add_pid(struct options *o, const char *text, char *why, size_t size)
{
	uint64_t pid;

	if (!parse_count(text, &pid) || pid < 1 || pid > 1 << 22)
		return options_wrong(why, size, "--watch %s: expected the number of a process", text);
	if (o->watch_count == MAX_WATCHED)
		return options_wrong(
			why, size, "--watch %s: at most %d processes can be watched", text, MAX_WATCHED);
	o->watch[o->watch_count++] = pid;
	return true;
}

/* PID@AT+FOR */
static bool add_pause(struct options *o, const char *text, char *why, size_t size)
{
	char pid[32], at[32], length[32];
	struct pause p;

	bool fine = sscanf(text, "%31[^@]@%31[^+]+%31s", pid, at, length) == 3 && parse_count(pid, &p.pid) &&
		    p.pid > 1 && p.pid <= 1 << 22 && parse_time_ns(at, &p.at_ns) &&
		    parse_time_ns(length, &p.length_ns);
	if (!fine)
		return options_wrong(why, size, "--pause %s: expected PID@AT+FOR, such as 4711@5s+1s", text);
	if (o->pause_count == MAX_PAUSES)
		return options_wrong(why, size, "--pause %s: at most %d are possible", text, MAX_PAUSES);
	o->pauses[o->pause_count++] = p;
	return true;
}

/* p99=2ms */
static bool set_objective(struct options *o, const char *text, char *why, size_t size)
{
	char quantile[16], limit[32];

	if (sscanf(text, "%15[^=]=%31s", quantile, limit) == 2) {
		o->find_ppm = distribution_ppm(quantile);
		if (o->find_ppm && parse_time_ns(limit, &o->find_ns) && o->find_ns > 0)
			return true;
	}
	return options_wrong(why, size,
		"--find-rate %s: expected one of p50 p75 p90 p95 p99 p999 p9999, and a time, such as p99=2ms",
		text);
}

static bool add_header(struct options *o, const char *text, char *why, size_t size)
{
	const char *colon = strchr(text, ':');

	if (!colon || colon == text || strpbrk(text, "\r\n"))
		return options_wrong(
			why, size, "--header '%s': expected one line such as 'Accept: text/plain'", text);
	if (o->header_count == MAX_HEADERS)
		return options_wrong(why, size, "--header '%s': at most %d are possible", text, MAX_HEADERS);
	o->headers[o->header_count++] = text;
	return true;
}

static bool set(const struct row *row, struct options *o, const char *text, char *why, size_t size)
{
	void *field = (char *)o + row->offset;

	switch (row->kind) {
	case TEXT:
		*(const char **)field = text;
		return true;
	case COUNT:
	case BYTES:
	case TIME:
		return set_number(row, text, field, why, size);
	case CHOICE:
		return set_choice(row, text, field, why, size);
	case CPUS:
		o->cpus_text = text;
		if (!parse_cpus(text, &o->cpus))
			return options_wrong(why, size, "--cpus %s: expected a list such as 0,2-5", text);
		return true;
	case PID:
		return add_pid(o, text, why, size);
	case PAUSE:
		return add_pause(o, text, why, size);
	case POPULATION:
		if (o->population_count == MAX_POPULATIONS)
			return options_wrong(
				why, size, "--population: at most %d are possible", MAX_POPULATIONS);
		o->population_texts[o->population_count++] = text;
		return true;
	case CLASS:
		if (o->class_count == MAX_CLASSES)
			return options_wrong(why, size, "--class: at most %d are possible", MAX_CLASSES);
		o->class_texts[o->class_count++] = text;
		return true;
	case OBJECTIVE:
		return set_objective(o, text, why, size);
	case HEADER:
		return add_header(o, text, why, size);
	case FLAG:
		*(bool *)field = true;
		return true;
	}
	return false;
}

enum { HELP_INDENT = 31, HELP_WIDTH = 100 };

/* The text, wrapped at blanks, in the right column; the cursor stands in it already. */
static void print_wrapped(const char *text)
{
	size_t room = HELP_WIDTH - HELP_INDENT, length;

	while ((length = strlen(text)) > room) {
		size_t cut = room;
		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (cut == 0)
			break; /* one long word */
		printf("%.*s\n%*s", (int)cut, text, HELP_INDENT, "");
		text += cut + 1;
	}
	puts(text);
}

static void print_help(void)
{
	puts("loadgen: drives a server, checks every reply, and measures.\n\n"
	     "usage: loadgen --target HOST:PORT --protocol P --connections N [options]\n"
	     "       loadgen merge --help\n"
	     "       loadgen make-file --help\n\n"
	     "  loadgen --target 127.0.0.1:8080 --protocol http --connections 50\n"
	     "      as fast as 50 connections go, for 5 seconds\n"
	     "  loadgen --target 127.0.0.1:8080 --protocol http --connections 50 --rate 20k --arrival poisson\n"
	     "      20,000 requests per second, and latency from the moment each was due\n"
	     "  loadgen --target 127.0.0.1:6379 --protocol raw --connections 50 --send 'PING\\r\\n' --expect "
	     "'+PONG\\r\\n'\n"
	     "      any protocol with fixed requests and replies\n"
	     "  loadgen --target 127.0.0.1:8080 --protocol frame --connections 50 --class 'small: --weight 9' "
	     "--class "
	     "'large: --reply 64KiB'\n"
	     "      nine small requests for each large one, on the same connections");
	for (size_t i = 0; i < options_row_count; i++) {
		char left[64];
		if (!options_rows[i].name) {
			printf("\n%s\n", options_rows[i].help);
			continue;
		}
		snprintf(left, sizeof(left), "--%s %s", options_rows[i].name,
			options_rows[i].argument ? options_rows[i].argument : "");
		printf("  %-28s ", left);
		print_wrapped(options_rows[i].help);
	}
	puts("\nTIME is 500ns, 100us, 1.5ms, 2s or 1m; a bare number is seconds. Rates and counts may end in k "
	     "or M.\n"
	     "Exit status: 0 good, 1 requests or connections failed, 2 usage, 3 the run is not valid (the "
	     "reasons say why).");
}

/* Finds --json first, so that even a wrong command line is answered in JSON where that was asked for. */
static void find_json(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
			o->json_path = argv[i + 1];
		else if (strncmp(argv[i], "--json=", 7) == 0)
			o->json_path = argv[i] + 7;
	}
}

bool options_read(struct options *o, int count, char **words, char *why, size_t size)
{
	for (int i = 0; i < count; i++) {
		const char *word = words[i], *equals = strchr(word, '=');
		const struct row *row = NULL;
		if (strncmp(word, "--", 2) == 0)
			row = options_find(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
		if (!row)
			return options_wrong(
				why, size, "%s: no such option; `loadgen --help` lists them", word);
		const char *value = row->kind == FLAG ? ""
				    : equals          ? equals + 1
				    : ++i < count     ? words[i]
						      : NULL;
		if (!value)
			return options_wrong(
				why, size, "--%s: its value is missing (%s)", row->name, row->argument);
		if (!set(row, o, value, why, size))
			return false;
		o->given[row - options_rows] = true;
	}
	return true;
}

/* --help and --version are answered wherever they stand. True: one of them was asked for. */
static bool answer_questions(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			print_help();
			return true;
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("loadgen (muxbench) 1");
			return true;
		}
	}
	return false;
}

uint32_t options_class_count(const struct options *load)
{
	return load->class_count > 0 ? load->class_count : 1;
}

const struct options *options_class(const struct options *load, uint32_t i)
{
	return load->class_count > 0 ? load->classes[i] : load;
}

enum parsed options_parse(struct options *o, int argc, char **argv, char *why, size_t size)
{
	options_defaults(o);
	find_json(o, argc, argv);
	if (answer_questions(argc, argv))
		return PARSED_DONE;
	bool fine = options_read(o, argc - 1, argv + 1, why, size) && options_check(o, why, size) &&
		    options_nested(o, why, size);
	return fine ? PARSED_RUN : PARSED_WRONG;
}

/* The value of one option; NULL for those that are reported elsewhere. */
static json_t *value_json(const struct row *row, const struct options *o)
{
	const void *field = (const char *)o + row->offset;

	switch (row->kind) {
	case TEXT:
	case CPUS:
		return *(const char *const *)field ? json_string(*(const char *const *)field) : json_null();
	case COUNT:
	case BYTES:
	case TIME:
		return json_integer((json_int_t) * (const uint64_t *)field);
	case CHOICE:
		return json_string(row->choices[*(const uint32_t *)field]);
	default:
		return NULL;
	}
}

static bool is_reported(const struct row *row, const struct options *o)
{
	if (!row->name)
		return false;
	return o->is_class ? options_of_class(row->name) : strcmp(row->name, "weight") != 0;
}

json_t *options_json(const struct options *o)
{
	json_t *object = json_object();

	for (size_t i = 0; i < options_row_count; i++) {
		json_t *value = is_reported(&options_rows[i], o) ? value_json(&options_rows[i], o) : NULL;
		char name[64];
		if (!value)
			continue;
		snprintf(name, sizeof(name), "%s%s", options_rows[i].name,
			options_rows[i].kind == TIME ? "_ns" : "");
		for (char *at = name; *at; at++)
			*at = *at == '-' ? '_' : *at;
		json_object_set_new(object, name, value);
	}
	return object;
}
