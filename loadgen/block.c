#include "block.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "draft.h"
#include "judge.h"
#include "parse.h"

enum { WORD = 8, WORDS = BLOCK_BYTES / WORD };

static const char usage[] =
	"usage: loadgen make-file PATH BLOCKS\n\n"
	"Makes a file of BLOCKS blocks of 4096 bytes, each of which says its number, for the path\n"
	"/file/{0..BLOCKS-1} of a server that was started with --file PATH.\n";

/* Word i of a block: its number, then the values of splitmix64 that belong to the word's place in the file. */
static uint64_t word(uint64_t number, size_t i)
{
	uint64_t x = (number * WORDS + i) * 0x9e3779b97f4a7c15ULL;

	if (i == 0)
		return htobe64(number);
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return htobe64(x ^ (x >> 31));
}

/* The word that holds byte `off`, from there on; *part: how many of n bytes it has. */
static const uint8_t *word_at(uint64_t number, size_t off, size_t n, uint64_t *room, size_t *part)
{
	*room = word(number, off / WORD);
	*part = WORD - off % WORD < n ? WORD - off % WORD : n;
	return (const uint8_t *)room + off % WORD;
}

void block_fill(uint64_t number, size_t off, uint8_t *out, size_t n)
{
	uint64_t room;

	for (size_t part; n > 0; off += part, out += part, n -= part) {
		const uint8_t *from = word_at(number, off, n, &room, &part);
		memcpy(out, from, part);
	}
}

bool block_equal(uint64_t number, size_t off, const uint8_t *bytes, size_t n)
{
	uint64_t room;

	for (size_t part; n > 0; off += part, bytes += part, n -= part) {
		const uint8_t *from = word_at(number, off, n, &room, &part);
		if (memcmp(bytes, from, part) != 0)
			return false;
	}
	return true;
}

/* Durable when it returns: a server may read it past the page cache. */
static bool write_blocks(FILE *file, uint64_t count)
{
	uint8_t block[BLOCK_BYTES];

	for (uint64_t number = 0; number < count; number++) {
		block_fill(number, 0, block, sizeof(block));
		if (fwrite(block, sizeof(block), 1, file) != 1)
			return false;
	}
	return fflush(file) == 0 && fsync(fileno(file)) == 0;
}

int block_main(int argc, char **argv)
{
	struct draft draft;
	uint64_t count;

	if (argc == 1 && strcmp(argv[0], "--help") == 0)
		return fputs(usage, stdout) < 0;
	if (argc != 2 || !parse_count(argv[1], &count) || count < 1 || count > UINT32_MAX) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (draft_open(&draft, argv[0]) && draft_close(&draft, write_blocks(draft.file, count)))
		return EXIT_GOOD;
	fprintf(stderr, "loadgen: make-file %s: %s\n", argv[0], strerror(errno));
	return EXIT_FAILED;
}
