/* bad_checksum: can a socket be reported readable, and the read then block?
 *
 * The manual of select() warns of it: a datagram arrives, the wait is over, and the read finds the checksum
 * wrong and throws the datagram away. Linux verifies late, while the data is copied, so as to touch it once;
 * only small ones, of 76 bytes at most, on arrival. To be safe nevertheless, poll on a UDP socket that may
 * block verifies first (udp_poll in net/ipv4/udp.c): a wrong datagram is dropped and not reported. For a socket
 * with O_NONBLOCK it does not take the trouble: that is reported, and the read returns EAGAIN. So on UDP the
 * warning holds only where it does no harm; and for epoll it is the flag that counts, too.
 *
 * The datagram is made by hand, over a raw socket, which takes root or CAP_NET_RAW.
 * Takes about 0.4 s.
 */
#include "probe.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGE = 1024, SMALL = 16, GAP_MS = 100 };

struct datagram {
	struct udphdr header;
	uint8_t text[LARGE];
};

static int raw;
static struct sockaddr_in address;

static int open_receiver(int flags)
{
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0));
	must(bind(fd, (struct sockaddr *)&address, sizeof address));
	must(getsockname(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
	return fd;
}

/* RFC 768's sum, over the datagram and both addresses, which are 127.0.0.1. */
static uint16_t checksum(const struct datagram *datagram, size_t bytes)
{
	const uint8_t *at = (const uint8_t *)datagram;
	uint32_t sum = 2 * (0x7f00 + 0x0001) + IPPROTO_UDP + (uint32_t)bytes;
	for (size_t i = 0; i < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void send_raw(size_t text_bytes, bool right)
{
	struct datagram datagram = {.text = "a datagram"};
	size_t bytes = sizeof datagram.header + text_bytes;
	datagram.header.source = htons(9);
	datagram.header.dest = address.sin_port;
	datagram.header.len = htons((uint16_t)bytes);
	uint16_t sum = checksum(&datagram, bytes);
	datagram.header.check = htons(right ? sum : sum ^ 0x0101);
	must(sendto(raw, &datagram, bytes, 0, (struct sockaddr *)&address, sizeof address));
}

/* Twice, for whoever asks first may have had the datagram verified and dropped. */
static void tell(const char *key, int flags, size_t bytes, bool right)
{
	char text[LARGE];
	int fd = open_receiver(flags);
	facts_open(key);
	send_raw(bytes, right);
	fact_bool("poll", probe_ready(fd, POLLIN, GAP_MS));
	ssize_t got = recv(fd, text, sizeof text, MSG_DONTWAIT);
	fact_int("read", got);
	fact_error("error", got < 0 ? errno : 0);
	send_raw(bytes, right);
	fact_bool("epoll", (probe_epoll(fd, EPOLLIN, GAP_MS) != 0));
	facts_close();
	close(fd);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"A datagram with a wrong checksum: who is told of it, and what a read then does.");
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	if (raw < 0)
		probe_skip("a raw socket: %s; run as root, or with CAP_NET_RAW", strerror(errno));
	tell("right_blocking", 0, LARGE, true);
	tell("wrong_blocking", 0, LARGE, false);
	tell("wrong_nonblocking", SOCK_NONBLOCK, LARGE, false);
	tell("wrong_small_nonblocking", SOCK_NONBLOCK, SMALL, false);
	return probe_end();
}
