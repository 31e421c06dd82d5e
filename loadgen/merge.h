/* `loadgen merge`: several results as one, as if one generator had made all the requests. */
#ifndef LOADGEN_MERGE_H
#define LOADGEN_MERGE_H

/* The arguments behind the word `merge`. Returns the exit status. */
int merge_main(int argc, char **argv);

#endif
