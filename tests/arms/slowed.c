/* slowed: servers/epoll_lt.c with a known price added to every reply, what `make calibrate` has the gate find.
 *
 * SLOWED_LOOPS rounds of work are burnt before each send, and SLOWED_CALLS times fcntl is called, which changes
 * nothing. `make build/arms/slowed-930-0` is the server with 930 rounds and no call; slowed-0-0 costs what the
 * page costs, but for two calls of a function that returns. How many rounds are five per cent is asked of the
 * host, by bench/calibrate.py.
 */
#include "net.h"
#include "work.h"

#include <fcntl.h>

static ssize_t send_slowed(int fd, struct span output)
{
	work_burn(SLOWED_LOOPS);
	for (int i = 0; i < SLOWED_CALLS; i++)
		if (fcntl(fd, F_GETFL) < 0)
			break;
	return net_send(fd, output);
}

#define net_send send_slowed
#include "../../servers/epoll_lt.c"
