/* What the parts of the command line's reading ask of each other. */
#ifndef LOADGEN_OPTIONS_PARTS_H
#define LOADGEN_OPTIONS_PARTS_H

#include "options.h"

/* Up to CHOICE an option is one field of struct options. */
enum row_kind {
	TEXT,
	COUNT,
	BYTES,
	TIME,
	CHOICE,
	CPUS,
	PID,
	PAUSE,
	HEADER,
	OBJECTIVE,
	POPULATION,
	CLASS,
	FLAG
};

struct row {
	const char *name, *argument;
	enum row_kind kind;
	size_t offset;
	uint64_t min, max; /* COUNT and BYTES; TIME in ns */
	const char *const *choices;
	const char *help;
};

extern const struct row options_rows[]; /* headings have no name */
extern const size_t options_row_count;

const struct row *options_find(const char *name, size_t length);

/* Everything to its default, nothing given. */
void options_defaults(struct options *o);

/* Sets the option to its default, and to not given. */
void options_reset(struct options *o, const char *name);

/* Reads `count` words into *o. */
bool options_read(struct options *o, int count, char **words, char *why, size_t why_size);

/* Makes o->classes, and then o->populations with theirs, from their texts. */
bool options_nested(struct options *o, char *why, size_t why_size);

/* Is this option one that a class can choose? */
bool options_of_class(const char *name);

#endif
