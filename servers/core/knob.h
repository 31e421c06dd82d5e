/* Options that a lab page has beside the contract's: one detail of a model each. The textbook pages have none.
 */
#ifndef KNOB_H
#define KNOB_H

#include <stdbool.h>

struct knob {
	const char *name;       /* on the command line, without dashes */
	const char *help;       /* what it changes, in one line */
	const char *choices;    /* "level|edge": takes one of these words, and value is its place; else NULL */
	bool is_time;           /* takes a time, and value is in ns; else, without choices, a whole number */
	unsigned long value;    /* the default, until the command line was read */
	unsigned long min, max; /* of a number or a time */
	bool given;
};

/* Takes the knobs, an array that ends with one without a name, and their values out of argv. A bad value ends
 * the process with one line and exit status 2. */
void knobs_take(const char *server, struct knob *knobs, int *argc, char **argv);

/* Ends the process with exit status 2 if both were given, as `because` they do not fit. */
void knobs_exclude(const char *server, const struct knob *one, const struct knob *other, const char *because);

/* `--help`'s lines, with what each may be, and `--describe`'s names, each with a comma before it. */
void knobs_help(const struct knob *knobs);
void knobs_describe(const struct knob *knobs);

#endif
