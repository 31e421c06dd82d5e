#include "knob.h"

#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of a word of this length among "a|b|c", or -1. */
static long place(const char *choices, const char *word, size_t len)
{
	for (long at = 0; choices; at++) {
		const char *end = strchrnul(choices, '|');
		if ((size_t)(end - choices) == len && strncmp(choices, word, len) == 0)
			return at;
		choices = *end ? end + 1 : NULL;
	}
	return -1;
}

static void choose(const char *server, struct knob *knob, const char *word)
{
	long at = place(knob->choices, word, strlen(word));
	if (at < 0)
		options_refuse(server, "--%s takes one of %s, not '%s'", knob->name, knob->choices, word);
	knob->value = (unsigned long)at;
}

static void measure(const char *server, struct knob *knob, const char *word)
{
	uint64_t ns;
	if (!options_time(word, &ns) || ns < knob->min || ns > knob->max)
		options_refuse(server, "--%s takes a time from %luns to %luns, such as 100us, not '%s'",
			knob->name, knob->min, knob->max, word);
	knob->value = ns;
}

static void count(const char *server, struct knob *knob, const char *word)
{
	char *end;
	errno = 0;
	knob->value = strtoul(word, &end, 10);
	if (*word < '0' || *word > '9' || *end || errno || knob->value < knob->min || knob->value > knob->max)
		options_refuse(server, "--%s takes a whole number from %lu to %lu, not '%s'", knob->name,
			knob->min, knob->max, word);
}

static struct knob *find(struct knob *knobs, const char *word)
{
	if (strncmp(word, "--", 2) != 0)
		return NULL;
	size_t len = (size_t)(strchrnul(word, '=') - word) - 2;
	for (; knobs->name; knobs++)
		if (strlen(knobs->name) == len && strncmp(knobs->name, word + 2, len) == 0)
			return knobs;
	return NULL;
}

void knobs_take(const char *server, struct knob *knobs, int *argc, char **argv)
{
	int kept = 1;
	for (int i = 1; i < *argc; i++) {
		struct knob *knob = find(knobs, argv[i]);
		if (!knob) {
			argv[kept++] = argv[i];
			continue;
		}
		const char *value = strchr(argv[i], '=');
		value = value ? value + 1 : argv[++i]; /* argv[argc] is NULL */
		if (!value)
			options_refuse(server, "--%s needs a value", knob->name);
		if (knob->choices)
			choose(server, knob, value);
		else if (knob->is_time)
			measure(server, knob, value);
		else
			count(server, knob, value);
		knob->given = true;
	}
	argv[kept] = NULL;
	*argc = kept;
}

void knobs_exclude(const char *server, const struct knob *one, const struct knob *other, const char *because)
{
	if (one->given && other->given)
		options_refuse(server, "--%s and --%s do not fit: %s", one->name, other->name, because);
}

static void print_values(const struct knob *knob)
{
	if (!knob->choices) {
		const char *unit = knob->is_time ? "ns" : "";
		printf("%lu%s to %lu%s; default %lu%s", knob->min, unit, knob->max, unit, knob->value, unit);
		return;
	}
	const char *word = knob->choices;
	for (unsigned long at = 0; at < knob->value; at++)
		word = strchr(word, '|') + 1;
	printf("%s; default %.*s", knob->choices, (int)(strchrnul(word, '|') - word), word);
}

void knobs_help(const struct knob *knobs)
{
	for (; knobs->name; knobs++) {
		printf("  --%-16s %s; ", knobs->name, knobs->help);
		print_values(knobs);
		putchar('\n');
	}
}

void knobs_describe(const struct knob *knobs)
{
	for (; knobs->name; knobs++)
		printf(", \"%s\"", knobs->name);
}
