/* shared_offset: what fork and dup share.
 *
 * A descriptor is a number; behind it stands an open file description with the offset and the status flags.
 * fork and dup copy the number and not what stands behind, so that, as Cindy Sridharan ("Nonblocking I/O",
 * 2017) has it, parent and child move one and the same offset.
 *
 * The program is hers, three bytes written and then lseek, continued: a child writes five more, a duplicate
 * two. Each time the offset is asked of the parent's own number. The status flags live in the same place,
 * so O_NONBLOCK set through a duplicate, or by a child, is seen through the original; the close-on-exec
 * flag belongs to the number.
 *
 * Try: build/probes/shared_offset
 */
#include "probe.h"

#include <fcntl.h>
#include <unistd.h>

static void fact_offset(const char *key, int fd)
{
	fact_int(key, must(lseek(fd, 0, SEEK_CUR)));
}

static bool is_nonblocking(int fd)
{
	return must(fcntl(fd, F_GETFL)) & O_NONBLOCK;
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "The offset and the flags that a descriptor shares with its copies.");
	int fd = probe_file();
	must(write(fd, "xyz", 3));
	fact_offset("after_own_write", fd);

	pid_t child = probe_fork();
	if (child == 0)
		_exit(write(fd, "child", 5) == 5 ? 0 : 1);
	fact_bool("child_wrote", probe_reap(child) == 0);
	fact_offset("after_childs_write", fd);

	int copy = must(dup(fd));
	must(write(copy, "du", 2));
	fact_offset("after_duplicates_write", fd);

	probe_nonblock(copy, true);
	fact_bool("nonblocking_through_duplicate", is_nonblocking(fd));
	probe_nonblock(copy, false);

	child = probe_fork();
	if (child == 0) {
		probe_nonblock(fd, true);
		_exit(0);
	}
	probe_reap(child);
	fact_bool("nonblocking_through_child", is_nonblocking(fd));

	must(fcntl(copy, F_SETFD, 0));
	fact_bool("close_on_exec_is_shared", must(fcntl(fd, F_GETFD)) == 0);
	return probe_end();
}
