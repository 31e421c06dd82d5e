/* --population "NAME: OPTIONS": more connections with a load of their own, beside the main ones in the same
 * run. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "options_parts.h"

enum { MAX_WORDS = 64 };

/* What a population may choose; the rest is one for the whole run. */
static const char *const own[] = {"protocol", "connections", "idle", "per-connection", "mode", "depth", "think",
	"rate", "arrival", "shed", "size", "path", "header", "delay", "work", "reply", "send", "expect",
	"until", "expect-status", "send-part", "send-every", "read-part", "read-every", "timeout"};

/* These are inherited together or not at all: half of a request makes no sense. */
static const char *const of_requests[] = {
	"size", "path", "header", "delay", "work", "reply", "send", "expect", "until", "expect-status"};

/* These are never inherited: a population has its own load. */
static const char *const of_load[] = {"connections", "idle", "per-connection", "mode", "depth", "think", "rate",
	"arrival", "shed", "send-part", "send-every", "read-part", "read-every", "threads", "find-rate"};

enum {
	OWN = sizeof(own) / sizeof(own[0]),
	OF_REQUESTS = sizeof(of_requests) / sizeof(of_requests[0]),
	OF_LOAD = sizeof(of_load) / sizeof(of_load[0]),
};

/* Cuts the text into words in place, at blanks outside quotes. Returns how many; -1 when there are too many or
 * a quote stays open. */
static int split(char *text, char **words)
{
	int count = 0;
	char *out = text;

	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (*text == '\0')
			return count;
		if (count == MAX_WORDS)
			return -1;
		words[count++] = out;
		for (char quote = '\0'; *text && (quote || !isspace((unsigned char)*text)); text++) {
			if (quote ? *text == quote : *text == '"' || *text == '\'')
				quote = quote ? '\0' : *text;
			else
				*out++ = *text;
			if (quote && text[1] == '\0')
				return -1;
		}
		bool last = *text == '\0';
		*out++ = '\0';
		if (last)
			return count;
		text++;
	}
}

static bool names(const char *word, const char *const *list, int count)
{
	size_t length = strcspn(word, "=");

	for (int i = 0; i < count; i++)
		if (strlen(list[i]) == length - 2 && strncmp(word + 2, list[i], length - 2) == 0)
			return true;
	return false;
}

/* Are all options among these words the population's own? Does one of them choose the request? */
static bool look_over(const char *name, char **words, int count, bool *chooses_request, char *why, size_t size)
{
	*chooses_request = false;
	for (int i = 0; i < count; i += strchr(words[i], '=') ? 1 : 2) {
		if (strncmp(words[i], "--", 2) != 0 || !names(words[i], own, OWN))
			return options_wrong(why, size, "--population %s: %s does not belong to a population",
				name, words[i]);
		if (names(words[i], of_requests, OF_REQUESTS) || strncmp(words[i], "--protocol", 10) == 0)
			*chooses_request = true;
	}
	return true;
}

/* The new population's options, before its own words are read. */
static void inherit(struct options *p, const struct options *o, bool chooses_request)
{
	*p = *o;
	p->population_count = p->watch_count = p->pause_count = 0;
	for (int i = 0; i < OF_LOAD; i++)
		options_reset(p, of_load[i]);
	for (int i = 0; chooses_request && i < OF_REQUESTS; i++)
		options_reset(p, of_requests[i]);
	if (chooses_request)
		p->header_count = 0;
	if (p->path == o->short_path)
		p->path = p->short_path;
}

static bool read_population(
	struct options *p, const struct options *o, const char *text, char *why, size_t size)
{
	char *words[MAX_WORDS], problem[400], *copy = strdup(text), *colon = copy ? strchr(copy, ':') : NULL;
	bool chooses_request;

	*p = (struct options){.words = copy};
	if (!colon || colon == copy || strlen(text) > 2000)
		return options_wrong(why, size,
			"--population %.40s: expected NAME: OPTIONS, such as 'churn: --connections 5 "
			"--per-connection 1'",
			text);
	*colon = '\0';
	int count = split(colon + 1, words);
	if (count < 0)
		return options_wrong(
			why, size, "--population %s: too many words, or a quote that stays open", copy);
	if (!look_over(copy, words, count, &chooses_request, why, size))
		return false;
	inherit(p, o, chooses_request);
	p->words = copy;
	p->name = copy;
	if (options_read(p, count, words, problem, sizeof(problem)) &&
		options_check(p, problem, sizeof(problem)))
		return true;
	return options_wrong(why, size, "--population %s: %s", copy, problem);
}

bool options_populations(struct options *o, char *why, size_t size)
{
	for (uint32_t i = 0; i < o->population_count; i++) {
		o->populations[i] = malloc(sizeof(*o));
		if (!o->populations[i])
			return options_wrong(why, size, "out of memory");
		if (!read_population(o->populations[i], o, o->population_texts[i], why, size))
			return false;
	}
	return true;
}

void options_free(struct options *o)
{
	for (uint32_t i = 0; i < o->population_count; i++) {
		if (o->populations[i])
			free(o->populations[i]->words);
		free(o->populations[i]);
	}
}
