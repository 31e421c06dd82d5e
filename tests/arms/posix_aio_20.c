/* posix_aio_20: the page servers/posix_aio.c without its aio_init(), so that glibc keeps to its default of 20
 * threads. Each idle connection occupies one of them with a read that waits: 20 that say nothing leave nobody else
 * served, until one of them speaks or leaves. tests/conformance/selftest/test_starvation.py shows it.
 */
#include <aio.h>

#define aio_init(most) ((void)(most))
#include "../../servers/posix_aio.c"
