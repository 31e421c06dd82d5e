/* socket_offset: a socket has no offset.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that a connected socket, too, is read and written at the
 * file offset of its descriptor.
 *
 * A stream is read in the order in which it came, and there is nothing to seek in: lseek, pread and pwrite
 * answer ESPIPE on sockets, pipes and terminals (lseek(2)). The same calls on a regular file show what an
 * offset is like. Before pread is tried there are bytes to be read: it is refused, not out of data.
 *
 * Try: build/probes/socket_offset
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

static void fact_result(const char *key, long long value)
{
	if (value < 0)
		fact_error(key, errno);
	else
		fact_int(key, value);
}

/* `fd` has eight bytes to read. */
static void show(const char *name, int fd)
{
	char buffer[4];
	facts_open(name);
	fact_bool("has_offset", lseek(fd, 0, SEEK_CUR) >= 0);
	fact_result("lseek", lseek(fd, 0, SEEK_CUR));
	fact_result("pread", pread(fd, buffer, sizeof buffer, 0));
	fact_result("pwrite", pwrite(fd, "1234", 4, 0));
	fact_int("read", must(read(fd, buffer, sizeof buffer)));
	fact_result("lseek_after_read", lseek(fd, 0, SEEK_CUR));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "lseek, pread and pwrite on sockets, pipes, a terminal and a file.");
	int tcp[2], local[2], ends[2], master, terminal;
	probe_tcp_pair(tcp);
	must(write(tcp[0], "12345678", 8));
	show("tcp", tcp[1]);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, local));
	must(write(local[0], "12345678", 8));
	show("unix", local[1]);

	must(pipe(ends));
	must(write(ends[1], "12345678", 8));
	show("pipe", ends[0]);

	must(openpty(&master, &terminal, NULL, NULL, NULL));
	must(write(master, "1234567\n", 8)); /* a line, or a terminal keeps it to itself */
	if (!probe_ready(terminal, POLLIN, 1000))
		probe_fail("a terminal does not hand out a line");
	show("terminal", terminal);

	int file = probe_file();
	must(pwrite(file, "12345678", 8, 0));
	show("file", file);
	return probe_end();
}
