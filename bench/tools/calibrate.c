/* Prints how many rounds of work this CPU does in a microsecond, for the servers' --loops-per-us: calibrated
 * once per plan, so that every arm burns the same. Try: build/calibrate */
#include "work.h"

#include <stdio.h>

int main(void)
{
	printf("{\"loops_per_us\": %ju}\n", (uintmax_t)work_calibrate());
	return 0;
}
