/* writable_again: when does a full socket become writable?
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that a socket whose send buffer was full becomes ready
 * when TCP has moved queued data to the peer.
 *
 * A sender writes until EAGAIN; then its peer reads in steps of STEP bytes, and after each step the sender is
 * asked whether it is writable. It is long before the peer has read all, but not with the first free byte: a
 * TCP sender is told when about a third of what it may queue is free (sk_stream_is_writeable), so that it is
 * woken for more than a crumb. The peer's receive buffer has to move first, too: a window is reopened only by a
 * sizeable piece. Sockets of AF_UNIX and pipes have rules of their own, and are asked for comparison.
 *
 * Try: build/probes/writable_again
 */
#include "probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEP = 4096,
	SETTLE_MS = 2, /* an acknowledgement is on its way with the read that caused it */
};

static void show(const char *kind, int from, int to)
{
	static char buffer[STEP];
	size_t read_bytes = 0;
	probe_nonblock(from, true);
	probe_nonblock(to, true);
	size_t full_bytes = probe_fill(from);
	bool refused = !probe_ready(from, POLLOUT, 0), writable = !refused;
	long steps = 0;
	while (!writable && read_bytes < full_bytes) {
		ssize_t n = read(to, buffer, STEP);
		if (n <= 0) {
			probe_sleep_ms(
				SETTLE_MS); /* the rest waits in the sender until it hears of the space */
			n = must(read(to, buffer, STEP));
		}
		read_bytes += (size_t)n;
		steps++;
		writable = probe_ready(from, POLLOUT, 0);
	}
	facts_open(kind);
	fact_bool("full_is_not_writable", refused);
	fact_int("full_bytes", (long long)full_bytes);
	fact_bool("writable_again", writable);
	fact_int("read_until_writable", (long long)read_bytes);
	fact_int("steps", steps);
	fact_real("read_share", (double)read_bytes / (double)full_bytes);
	fact_int("taken_then", (long long)probe_fill(from));
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "How much a peer must read before a full sender is reported writable.");
	int pair[2];
	probe_tcp_pair(pair);
	show("tcp", pair[0], pair[1]);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	show("unix", pair[0], pair[1]);
	must(pipe(pair));
	show("pipe", pair[1], pair[0]);
	return probe_end();
}
