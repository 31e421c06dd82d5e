#include "draft.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_special(const char *path)
{
	struct stat found;

	return lstat(path, &found) == 0 && !S_ISREG(found.st_mode);
}

bool draft_open(struct draft *d, const char *path)
{
	bool to_stdout = strcmp(path, "-") == 0;

	d->path = path;
	d->in_place = to_stdout || is_special(path);
	int length = snprintf(d->name, sizeof(d->name), d->in_place ? "%s" : "%s.part", path);
	if (length < 0 || (size_t)length >= sizeof(d->name)) {
		errno = ENAMETOOLONG;
		return false;
	}
	d->file = to_stdout ? stdout : fopen(d->name, "we");
	return d->file != NULL;
}

bool draft_close(struct draft *d, bool fine)
{
	fine = fine && fflush(d->file) == 0 && !ferror(d->file);
	int failed = errno;

	if (d->file != stdout && fclose(d->file) < 0 && fine) {
		failed = errno;
		fine = false;
	}
	if (d->in_place)
		return errno = failed, fine;
	if (fine && rename(d->name, d->path) == 0)
		return true;
	failed = fine ? errno : failed;
	unlink(d->name);
	errno = failed;
	return false;
}

bool draft_json(const char *path, const json_t *document)
{
	struct draft d;

	if (!draft_open(&d, path))
		return false;
	return draft_close(&d, json_dumpf(document, d.file, JSON_COMPACT) == 0 && fputc('\n', d.file) != EOF);
}
