/*-------------------------------------------------------------------------
 *
 * key_map.c
 *	  The latest offset of each key, in bounded memory: what compaction asks.
 *
 * Keys are compared byte by byte: by a hash alone, compaction would one day
 * remove the message of another key.  The hash has a random seed, so that users
 * cannot choose keys that collide.
 *
 * Memory: the hash table, with room for it to double at any time, and the keys,
 * in blocks.  A new key without room is refused, except the first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/pg_prng.h"

#include "base/data.h"

/* Keys are stored in blocks of this size; a longer one gets its own. */
#define BLOCK_BYTES (64 * 1024)

typedef struct Key
{
	const char *data;
	uint32		len;
	uint32		hash;
} Key;

typedef struct KeyEntry
{
	Key			key;
	int64		offset;
	char		status;			/* for simplehash */
} KeyEntry;

#define SH_PREFIX keys
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE Key
#define SH_KEY key
#define SH_HASH_KEY(table, k) ((k).hash)
#define SH_EQUAL(table, a, b) \
	((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->key.hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct KeyMap
{
	keys_hash  *table;
	uint64		seed;			/* of the hash */
	Size		memory;			/* may be used */
	Size		stored;			/* by blocks of keys */
	char	   *block;			/* the last, and ... */
	Size		room;			/* ... what is left of it */
};

/* Make a map in the current memory context. */
KeyMap *
pgqueue_key_map(Size memory)
{
	KeyMap	   *map = palloc0(sizeof(KeyMap));

	map->table = keys_create(CurrentMemoryContext, 256, NULL);
	map->seed = pg_prng_uint64(&pg_global_prng_state);
	map->memory = memory;
	return map;
}

static Key
make_key(const KeyMap *map, const char *data, uint32 len)
{
	return (Key)
	{
		data, len, hash_bytes_extended((const unsigned char *) data, len,
									   map->seed)
	};
}

/* Return true if there is room for another key. */
static bool
has_room(const KeyMap *map, uint32 len)
{
	Size		table = map->table->size * sizeof(KeyEntry) * 3;
	Size		block = len > map->room ? Max(len, BLOCK_BYTES) : 0;

	return table + map->stored + block <= map->memory;
}

static const char *
store(KeyMap *map, const char *data, uint32 len)
{
	char	   *copy;

	if (len > map->room || map->block == NULL)
	{
		Size		size = Max(len, BLOCK_BYTES);

		map->block = palloc(size);
		map->room = size;
		map->stored += size;
	}
	copy = map->block;
	memcpy(copy, data, len);
	map->block += len;
	map->room -= len;
	return copy;
}

/*
 * Note a message of a key; offsets are given in ascending order.  Return false
 * if the key is new and there is no room for it.
 */
bool
pgqueue_key_map_set(KeyMap *map, const char *data, uint32 len, int64 offset)
{
	Key			key = make_key(map, data, len);
	KeyEntry   *entry = keys_lookup_hash(map->table, key, key.hash);

	if (entry == NULL)
	{
		MemoryContext old;
		bool		found;

		if (map->table->members > 0 && !has_room(map, len))
			return false;
		old = MemoryContextSwitchTo(map->table->ctx);
		key.data = store(map, data, len);
		entry = keys_insert_hash(map->table, key, key.hash, &found);
		MemoryContextSwitchTo(old);
	}
	entry->offset = offset;
	return true;
}

/* Return the offset of the latest message of a key, or -1. */
int64
pgqueue_key_map_get(const KeyMap *map, const char *data, uint32 len)
{
	Key			key = make_key(map, data, len);
	KeyEntry   *entry = keys_lookup_hash(map->table, key, key.hash);

	return entry == NULL ? -1 : entry->offset;
}
