/* packet_mode: who hears that a terminal's state changed?
 *
 * A terminal emulator, or a server for remote logins, holds the master side of a pseudoterminal. In packet mode
 * (TIOCPKT) each read there begins with a byte that says what follows: 0 for data, else a set of bits: the
 * other side has flushed its queues, has stopped or started output, has changed its flow control. Such a change
 * carries no data. It is an exceptional condition: select()'s third set, POLLPRI for poll() and epoll. Without
 * packet mode nobody hears of it. The page has the slave flush its input, and looks from the master.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int open_slave(int master)
{
	char name[64];
	must(grantpt(master));
	must(unlockpt(master));
	if (ptsname_r(master, name, sizeof name) != 0)
		probe_fail("ptsname_r: %s", name);
	return must(open(name, O_RDWR | O_NOCTTY));
}

static void who_hears(const char *key, int master)
{
	facts_open(key);
	fact_bool("select_exceptional", probe_select(master, POLLPRI));
	fact_bool("poll_pri", probe_ready(master, POLLPRI, 0));
	fact_bool("epoll_pri", probe_epoll(master, EPOLLPRI, 0) & EPOLLPRI);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "A pseudoterminal's state change, seen from a master in packet mode.");
	unsigned char packet[64];
	int on = 1;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (master < 0)
		probe_skip("no pseudoterminal to be had: %s; is /dev/pts mounted?", strerror(errno));
	int slave = open_slave(master);

	must(tcflush(slave, TCIFLUSH));
	who_hears("without_packet_mode", master);
	must(ioctl(master, TIOCPKT, &on));
	who_hears("before", master);
	must(tcflush(slave, TCIFLUSH));
	who_hears("after_a_flush", master);

	facts_open("read");
	fact_int("bytes", must(read(master, packet, sizeof packet)));
	fact_bool("says_flush_read", packet[0] & TIOCPKT_FLUSHREAD);
	fact_bool("poll_pri_after", probe_ready(master, POLLPRI, 0));
	facts_close();

	must(write(slave, "x", 1));
	facts_open("plain_data");
	fact_bool("poll_pri", probe_ready(master, POLLPRI, 0));
	fact_int("bytes", must(read(master, packet, sizeof packet)));
	fact_int("first_byte", packet[0]);
	facts_close();
	return probe_end();
}
