/* old_epoll: epoll_pwait2 by way of epoll_pwait, for programs under a valgrind that does not know the newer
 * call (3.19 answers ENOSYS; https://valgrind.org/docs/manual/dist.news.html).
 *
 * Loaded by LD_PRELOAD, and always, so that a newer valgrind counts the same instructions.  The wait is rounded
 * up to milliseconds, as epoll_pwait has them: under valgrind instructions are counted, and no time is
 * measured.
 */
#include <limits.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

int epoll_pwait2(
	int fd, struct epoll_event *events, int size, const struct timespec *patience, const sigset_t *mask)
{
	if (!patience)
		return epoll_pwait(fd, events, size, -1, mask);
	if (patience->tv_sec >= INT_MAX / 1000)
		return epoll_pwait(fd, events, size, INT_MAX, mask);
	long ms = patience->tv_sec * 1000 + (patience->tv_nsec + 999999) / 1000000;
	return epoll_pwait(fd, events, size, (int)ms, mask);
}
