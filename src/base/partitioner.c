/*-------------------------------------------------------------------------
 *
 * partitioner.c
 *	  Which partition a key belongs to.
 *
 * Kafka's default partitioner: toPositive(murmur2(key)) % partitions.
 * MurmurHash2 is Austin Appleby's (public domain); seed and variant are
 * Kafka's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/data.h"

#define MURMUR_SEED		0x9747b28cU
#define MURMUR_MIX		0x5bd1e995U
#define MURMUR_SHIFT	24

/* Read four bytes as a little-endian word, as Kafka does on any machine. */
static inline uint32
word_at(const unsigned char *p)
{
	return (uint32) p[0] | (uint32) p[1] << 8 |
		(uint32) p[2] << 16 | (uint32) p[3] << 24;
}

uint32
pgqueue_murmur2(const unsigned char *data, int length)
{
	uint32		h = MURMUR_SEED ^ (uint32) length;
	int			whole = length & ~3;

	for (int i = 0; i < whole; i += 4)
	{
		uint32		k = word_at(data + i);

		k *= MURMUR_MIX;
		k ^= k >> MURMUR_SHIFT;
		h = (h * MURMUR_MIX) ^ (k * MURMUR_MIX);
	}

	if (length > whole)
	{
		uint32		rest = 0;

		for (int i = length - 1; i >= whole; i--)
			rest = rest << 8 | data[i];
		h = (h ^ rest) * MURMUR_MIX;
	}

	h ^= h >> 13;
	h *= MURMUR_MIX;
	return h ^ h >> 15;
}

int32
pgqueue_partition_for_key(const char *key, int length, int npartitions)
{
	uint32		h = pgqueue_murmur2((const unsigned char *) key, length);

	return (int32) ((h & 0x7fffffffU) % (uint32) npartitions);
}
