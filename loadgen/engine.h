/* An engine moves bytes between sockets and the flow of requests (flow.h), and waits. All its functions are
 * called by the worker's own thread. */
#ifndef LOADGEN_ENGINE_H
#define LOADGEN_ENGINE_H

#include <stdint.h>

struct worker;
struct conn;

struct engine {
	const char *name;

	/* 0, or -errno and worker.failed set to what could not be done. */
	int (*init)(struct worker *w);
	void (*fini)(struct worker *w);

	/* Begins to connect c. 0, and later flow_connected() or flow_connect_failed(); or -errno at once. */
	int (*open)(struct worker *w, struct conn *c);

	/* Sends what flow_output() offers until it is empty or the kernel has no room; then goes on by itself.
	 * `now`: a moment ago. 0, or -errno when the connection has failed. */
	int (*send)(struct worker *w, struct conn *c, uint64_t now);

	/* Forgets c's socket and closes it; not one event of it is delivered afterwards. */
	void (*close)(struct worker *w, struct conn *c);

	/* A slow reader: the pause of c is over. */
	void (*read_on)(struct worker *w, struct conn *c);

	/* Waits for events until `deadline_ns` (0: only looks) and hands them to the flow. */
	void (*wait)(struct worker *w, uint64_t deadline_ns);
};

extern const struct engine engine_epoll, engine_uring;

#endif
