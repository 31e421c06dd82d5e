/* What the parts of the command line's reading ask of each other. */
#ifndef LOADGEN_OPTIONS_PARTS_H
#define LOADGEN_OPTIONS_PARTS_H

#include "options.h"

/* Reads `count` words into *o. */
bool options_read(struct options *o, int count, char **words, char *why, size_t why_size);

/* Sets the option to its default, and to not given. */
void options_reset(struct options *o, const char *name);

/* Makes o->populations from their texts. */
bool options_populations(struct options *o, char *why, size_t why_size);

#endif
