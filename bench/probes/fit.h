/* How a cost grows. A page that uses this is linked with the library of mathematics: libraries: m */
#ifndef FIT_H
#define FIT_H

#include <math.h>

/* The slope of ln y over ln x by least squares: 1 for what grows in proportion, 0 for what does not grow. */
static inline double fit_slope(const int *x, const double *y, int count)
{
	double mean_x = 0, mean_y = 0, above = 0, below = 0;
	for (int i = 0; i < count; i++) {
		mean_x += log(x[i]) / count;
		mean_y += log(y[i]) / count;
	}
	for (int i = 0; i < count; i++) {
		above += (log(x[i]) - mean_x) * (log(y[i]) - mean_y);
		below += (log(x[i]) - mean_x) * (log(x[i]) - mean_x);
	}
	return above / below;
}

#endif
