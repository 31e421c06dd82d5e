/* Figures as people read them. */
#ifndef LOADGEN_TEXT_H
#define LOADGEN_TEXT_H

#include <stddef.h>

/* A duration with three significant digits in the unit that suits: "1.23 ms". Returns out. */
const char *text_duration(double ns, char *out, size_t size);

#endif
