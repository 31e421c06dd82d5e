/* Files that are written to and never replaced. */
#ifndef LOADGEN_SPECIAL_H
#define LOADGEN_SPECIAL_H

#include <stdbool.h>
#include <sys/stat.h>

/* A device or a pipe: a file renamed over /dev/null would be the end of it. */
static inline bool is_special(const char *path)
{
	struct stat found;

	return stat(path, &found) == 0 && !S_ISREG(found.st_mode);
}

#endif
