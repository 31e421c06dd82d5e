/* setfl: which flags of open can be changed afterwards.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that the flags of open mean nothing once the file is open,
 * and that O_NONBLOCK is the exception.
 *
 * fcntl(F_SETFL) is asked to set each flag of open on a file that was opened without it, and F_GETFL then
 * tells whether it is set; a flag that the kernel will not change is ignored without an error. fcntl(2)
 * names five that Linux changes. O_ASYNC is asked of a socket, because a regular file has no signal to
 * send, and O_DIRECT where the file system knows it.
 *
 * Try: build/probes/setfl
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int changed;

static void try(const char *name, int fd, int flag)
{
	int before = must(fcntl(fd, F_GETFL));
	int error = fcntl(fd, F_SETFL, before | flag) == 0 ? 0 : errno;
	bool set = (must(fcntl(fd, F_GETFL)) & flag) == flag;
	must(fcntl(fd, F_SETFL, before));
	facts_open(name);
	fact_bool("takes_effect", set);
	fact_error("error", error);
	facts_close();
	changed += set;
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Which flags of open fcntl(F_SETFL) changes afterwards.");
	int file = probe_file(), pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));

	facts_open("flags");
	try("O_NONBLOCK", file, O_NONBLOCK);
	try("O_APPEND", file, O_APPEND);
	try("O_ASYNC", pair[0], O_ASYNC);
	try("O_DIRECT", file, O_DIRECT);
	try("O_NOATIME", file, O_NOATIME);
	try("O_SYNC", file, O_SYNC);
	try("O_DSYNC", file, O_DSYNC);
	try("O_TRUNC", file, O_TRUNC);
	try("O_PATH", file, O_PATH);
	facts_close();
	fact_int("changed", changed);

	must(write(file, "12345", 5));
	must(fcntl(file, F_SETFL, O_APPEND));
	must(lseek(file, 0, SEEK_SET));
	must(write(file, "678", 3));
	fact_int("size_after_append_set_late", must(lseek(file, 0, SEEK_END))); /* 8: it did take effect */
	return probe_end();
}
