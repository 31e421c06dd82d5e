/* Options within an option: --population "NAME: OPTIONS" is more connections with a load of their own in the
 * same run, --class "NAME: OPTIONS" one of several kinds of requests on the same connections. What such a text
 * does not say is as it was said outside. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "options_parts.h"

enum { MAX_WORDS = 64, MAX_TEXT = 2000 };

/* What a population may choose; the rest is one for the whole run. */
static const char *const of_population[] = {"protocol", "connections", "idle", "per-connection", "mode",
	"depth", "think", "rate", "arrival", "shed", "size", "path", "header", "delay", "work", "reply", "send",
	"expect", "until", "expect-status", "class", "send-part", "send-every", "read-part", "read-every",
	"timeout", NULL};

/* Of these, what says what a request is: inherited together or not at all, half of a request makes no sense. */
static const char *const of_requests[] = {"size", "path", "header", "delay", "work", "reply", "send", "expect",
	"until", "expect-status", "class", NULL};

/* These a population never inherits: it has its own load. */
static const char *const of_load[] = {"connections", "idle", "per-connection", "mode", "depth", "think", "rate",
	"arrival", "shed", "send-part", "send-every", "read-part", "read-every", "threads", "find-rate", NULL};

/* What a class may choose. */
static const char *const of_class[] = {
	"weight", "size", "reply", "delay", "work", "path", "send", "expect", "until", "expect-status", NULL};

/* Of each of these sets a request has one: who says one of them inherits none of the others. */
static const char *const http_targets[] = {"path", "delay", "work", "reply", NULL};
static const char *const raw_ends[] = {"expect", "until", "reply", NULL};

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

static bool is_one_of(const char *name, size_t length, const char *const *list)
{
	for (; *list; list++)
		if (strlen(*list) == length && strncmp(name, *list, length) == 0)
			return true;
	return false;
}

bool options_of_class(const char *name)
{
	return is_one_of(name, strlen(name), of_class);
}

/* A text, cut into its parts. */
struct nested {
	const char *option; /* "population" or "class" */
	char *copy;         /* what the parts point into; it begins with the name */
	char *words[MAX_WORDS];
	int count;
};

/* Is one of these options among the words? */
static bool says_one_of(const struct nested *n, const char *const *list)
{
	for (int i = 0; i < n->count; i += strchr(n->words[i], '=') ? 1 : 2)
		if (is_one_of(n->words[i] + 2, strcspn(n->words[i] + 2, "="), list))
			return true;
	return false;
}

/* All words in the place of an option are options of `list`. */
static bool check_words(const struct nested *n, const char *const *list, char *why, size_t size)
{
	for (int i = 0; i < n->count; i += strchr(n->words[i], '=') ? 1 : 2) {
		const char *word = n->words[i];
		if (strncmp(word, "--", 2) != 0 || !is_one_of(word + 2, strcspn(word + 2, "="), list))
			return options_wrong(why, size, "--%s %s: %s does not belong to a %s", n->option,
				n->copy, word, n->option);
	}
	return true;
}

/* Names become members of the record and parts of file names. */
static size_t name_length(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return strspn(text, allowed);
}

static bool take_apart(struct nested *n, const char *text, char *why, size_t size)
{
	size_t length = name_length(text);

	if (length == 0 || length > MAX_NAME || text[length] != ':' || strlen(text) > MAX_TEXT)
		return options_wrong(why, size,
			"--%s %.40s: expected NAME: OPTIONS, such as %s, with a name of at most %d letters, "
			"digits, - and _",
			n->option, text,
			strcmp(n->option, "class") == 0 ? "'large: --weight 1 --reply 64KiB'"
							: "'churn: --connections 5 --per-connection 1'",
			MAX_NAME);
	n->copy[length] = '\0';
	n->count = split(n->copy + length + 1, n->words);
	return n->count >= 0 || options_wrong(why, size, "--%s %s: too many words, or a quote that stays open",
					n->option, n->copy);
}

static void reset_all(struct options *p, const char *const *list)
{
	for (; *list; list++)
		options_reset(p, *list);
}

/* What is the run's alone, or made anew for each. */
static void clear_nested(struct options *p, const struct options *o)
{
	p->population_count = p->watch_count = p->pause_count = 0;
	memset(p->populations, 0, sizeof(p->populations));
	memset(p->classes, 0, sizeof(p->classes));
	if (p->path == o->short_path)
		p->path = p->short_path;
}

static void inherit_load(struct options *p, const struct options *o, const struct nested *n)
{
	static const char *const protocol[] = {"protocol", NULL};

	*p = *o;
	clear_nested(p, o);
	reset_all(p, of_load);
	if (says_one_of(n, of_requests) || says_one_of(n, protocol)) {
		reset_all(p, of_requests);
		p->header_count = p->class_count = 0;
	}
}

static void inherit_request(struct options *p, const struct options *o, const struct nested *n)
{
	*p = *o;
	clear_nested(p, o);
	p->class_count = 0;
	p->is_class = true;
	options_reset(p, "class");
	if (o->protocol == PROTOCOL_HTTP && says_one_of(n, http_targets))
		reset_all(p, http_targets);
	if (o->protocol == PROTOCOL_RAW && says_one_of(n, raw_ends))
		reset_all(p, raw_ends);
}

/* Fills *p, which is all zero; p->words is to be freed whatever comes of it. */
static bool read_nested(
	struct options *p, const struct options *o, bool is_class, const char *text, char *why, size_t size)
{
	struct nested n = {.option = is_class ? "class" : "population", .copy = strdup(text)};
	char problem[400];

	p->words = n.copy;
	if (!n.copy)
		return options_wrong(why, size, "out of memory");
	if (!take_apart(&n, text, why, size) ||
		!check_words(&n, is_class ? of_class : of_population, why, size))
		return false;
	if (is_class)
		inherit_request(p, o, &n);
	else
		inherit_load(p, o, &n);
	p->words = n.copy;
	p->name = n.copy;
	if (options_read(p, n.count, n.words, problem, sizeof(problem)) &&
		options_check(p, problem, sizeof(problem)))
		return true;
	return options_wrong(why, size, "--%s %s: %s", n.option, n.copy, problem);
}

static bool is_taken(struct options *const *list, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(list[i]->name, name) == 0)
			return true;
	return false;
}

/* Makes list[i] of the i-th text. */
static bool add_nested(struct options **list, uint32_t i, const struct options *o, bool is_class,
	const char *text, char *why, size_t size)
{
	list[i] = calloc(1, sizeof(*o));
	if (!list[i])
		return options_wrong(why, size, "out of memory");
	if (!read_nested(list[i], o, is_class, text, why, size))
		return false;
	return !is_taken(list, i, list[i]->name) ||
	       options_wrong(why, size, "--%s %s: there are two of this name",
		       is_class ? "class" : "population", list[i]->name);
}

static bool make_classes(struct options *load, char *why, size_t size)
{
	for (uint32_t i = 0; i < load->class_count; i++)
		if (!add_nested(load->classes, i, load, true, load->class_texts[i], why, size))
			return false;
	return true;
}

/* The longest that a server is asked to wait, in any class of any load. */
static uint64_t longest_delay(const struct options *load)
{
	uint64_t longest = load->delay_ns;

	for (uint32_t i = 0; i < load->class_count; i++)
		longest = load->classes[i]->delay_ns > longest ? load->classes[i]->delay_ns : longest;
	for (uint32_t i = 0; i < load->population_count; i++) {
		uint64_t one = longest_delay(load->populations[i]);
		longest = one > longest ? one : longest;
	}
	return longest;
}

bool options_nested(struct options *o, char *why, size_t size)
{
	if (!make_classes(o, why, size))
		return false;
	for (uint32_t i = 0; i < o->population_count; i++)
		if (!add_nested(o->populations, i, o, false, o->population_texts[i], why, size) ||
			!make_classes(o->populations[i], why, size))
			return false;
	if (!options_given(o, "drain"))
		o->drain_ns += longest_delay(o);
	return true;
}

static void free_list(struct options **list, uint32_t count)
{
	for (uint32_t i = 0; i < count && list[i]; i++) {
		options_free(list[i]);
		free(list[i]->words);
		free(list[i]);
	}
}

void options_free(struct options *o)
{
	free_list(o->classes, o->class_count);
	free_list(o->populations, o->population_count);
}
