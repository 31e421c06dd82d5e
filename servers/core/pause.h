/* Carrying out a pause: where the core's durations meet the clock. The clock is read only while something
 * waits. */
#ifndef PAUSE_H
#define PAUSE_H

#include "conn.h"
#include "deadline.h"

/* The timeout for the wait: until the earliest deadline, written to *timeout; NULL, for ever, if none is set.
 */
const struct timespec *pause_timeout(const struct deadlines *, struct timespec *timeout);

/* Sets the deadline to the end of a PAUSE_DELAY that begins now. */
void pause_begin(struct deadlines *, struct deadline *, struct pause);

/* Takes out one deadline that has passed; NULL if none has. */
struct deadline *pause_expired(struct deadlines *);

/* Carries out any pause on this thread: sleeps through a delay, burns work, reads a file's block and waits for
 * it. Not cut short by signals. */
void pause_here(struct pause);

/* The same for a thread that serves this one socket and has nothing else to do. False, at once, if a reset or
 * a shutdown() of both directions ends the connection meanwhile: errno is what a send would set. */
bool pause_on(int fd, struct pause);

#endif
