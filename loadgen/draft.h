/* A file of which nobody reads half: it is written beside its place, and renamed when it is whole. */
#ifndef LOADGEN_DRAFT_H
#define LOADGEN_DRAFT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct draft {
	FILE *file;
	const char *path; /* the caller's, until draft_close */
	bool in_place;
	char name[4096];
};

/* `-` is standard output. A device, a pipe or a link is written through, because a file renamed over /dev/null
 * would be the end of it. False, with errno, if it cannot be written; then there is nothing to close. */
bool draft_open(struct draft *d, const char *path);

/* Puts the file in its place, if the caller says that it is `fine` and all of it could be written; else takes
 * the draft away and returns false, with the errno of what failed. */
bool draft_close(struct draft *d, bool fine);

/* A document, on one line. False, with errno, if it could not be written whole. */
bool draft_json(const char *path, const json_t *document);

#endif
