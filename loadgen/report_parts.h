/* The parts of the record that stand in files of their own. */
#ifndef LOADGEN_REPORT_PARTS_H
#define LOADGEN_REPORT_PARTS_H

#include <jansson.h>

#include "report.h"

/* `expected`: of the load's classes. New references. */
json_t *report_load_json(const struct load *load, const struct result *r, const struct expected *expected);
json_t *report_populations_json(const struct result *r, const struct expected *expected);

#endif
