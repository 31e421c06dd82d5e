/* lab/posix_aio: servers/posix_aio.c, with the number of glibc's threads as an option.
 *
 * glibc gives each operation of POSIX AIO a thread that blocks in it, and makes --aio-threads of these at most:
 * 20 where nobody says otherwise. A connection that says nothing is a read that waits, so that as many of them
 * as there are threads leave nobody else served, until one of them speaks or leaves. The textbook page asks for
 * a thread for each descriptor and so never shows it; this is that page, with the call in which it asks taken
 * through here.
 *
 * Needs Linux with glibc.
 * Try: build/lab/posix_aio --aio-threads 2 --port 8080, then nc 127.0.0.1 8080 thrice: the third hears nothing
 */
#include "options.h"

#include <aio.h>

static struct knob knobs[] = {
	{"aio-threads", "that glibc makes at most", .value = 20, .min = 1, .max = 1 << 20},
	{0},
};

static struct options parse(const struct model *page, int argc, char **argv)
{
	static struct model lab; /* --describe and --help read it */
	lab = *page;
	lab.knobs = knobs;
	return options_parse(&lab, argc, argv);
}

static void limit_threads(void)
{
	struct aioinit most = {.aio_threads = (int)knobs[0].value};
	aio_init(&most);
}

#define options_parse  parse
#define aio_init(most) ((void)(most), limit_threads())
#include "../posix_aio.c"
