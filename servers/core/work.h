/* Work: CPU time that every server burns alike. */
#ifndef WORK_H
#define WORK_H

#include <stdint.h>

/* Runs that many rounds of a dependent integer chain: no memory, no vector units, nothing to be optimised
 * away. */
void work_burn(uint64_t loops);

/* Rounds per microsecond of this thread's CPU time, now: the fastest of several short trials, since whatever
 * shares the core only ever slows one down. Takes about 5 ms. Calibrate once per plan and pass the figure to
 * every server, so that all burn the same. */
uint64_t work_calibrate(void);

#endif
