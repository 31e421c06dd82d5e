/* The blocks of a file made for the disk experiment (docs/loadgen.md): block N is its number and 511 words that
 * follow from it, all of 8 bytes and big-endian, so that a block read from a wrong place, or in part, shows. */
#ifndef LOADGEN_BLOCK_H
#define LOADGEN_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOCK_BYTES = 4096 };

/* Writes bytes [off, off + n) of block `number`; off + n is at most BLOCK_BYTES. */
void block_fill(uint64_t number, size_t off, uint8_t *out, size_t n);

/* Are these bytes [off, off + n) of block `number`? */
bool block_equal(uint64_t number, size_t off, const uint8_t *bytes, size_t n);

/* `loadgen make-file PATH BLOCKS`; returns the exit status. */
int block_main(int argc, char **argv);

#endif
