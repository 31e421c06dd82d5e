/* own_offset: every open makes an entry of its own.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that each call of open makes an entry of its own, and that
 * reads and writes begin at its offset and move it.
 *
 * One file is opened twice. What one descriptor reads moves its own offset by as many bytes and the other's
 * not at all. Two kinds of transfer do not begin at the offset: pread and pwrite name a place and leave the
 * offset where it was, and a write under O_APPEND goes to the end of the file, wherever the offset was.
 *
 * Try: build/probes/own_offset
 */
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static off_t offset(int fd)
{
	return must(lseek(fd, 0, SEEK_CUR));
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "The offsets of two descriptors that were opened from one file.");
	char buffer[64] = {0}, path[64];
	int first = probe_file();
	probe_write(first, 1000);
	must(lseek(first, 0, SEEK_SET));
	snprintf(path, sizeof path, "/proc/self/fd/%d", first); /* opens the file anew: it has no other name */
	int second = must(open(path, O_RDWR | O_CLOEXEC));
	int appending = must(open(path, O_WRONLY | O_APPEND | O_CLOEXEC));

	fact_int("read_through_first", must(read(first, buffer, 10)));
	fact_int("first", offset(first));
	fact_int("second", offset(second));
	fact_int("read_again_through_first", must(read(first, buffer, 25)));
	fact_int("first_again", offset(first));
	fact_int("written_through_second", must(write(second, buffer, 7)));
	fact_int("second_again", offset(second));
	fact_int("first_then", offset(first));

	facts_open("exceptions");
	must(pread(first, buffer, 10, 500));
	fact_int("after_pread_of_10", offset(first));
	must(pwrite(first, buffer, 10, 500));
	fact_int("after_pwrite_of_10", offset(first));
	must(lseek(appending, 0, SEEK_SET));
	must(write(appending, buffer, 5));
	fact_int("after_append_of_5_from_0", offset(appending));
	facts_close();
	return probe_end();
}
