/*-------------------------------------------------------------------------
 *
 * record.c
 *	  A message's values to a record.
 *
 * Forming is a quarter of what producing costs.  So a record of ordinary
 * varlena values is laid out directly, and heap_form_tuple(), which gives the
 * same bytes, serves what is unusual: values out of line, other types, wide
 * alignment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/memutils.h"

#include "log/log.h"

/* Largest sum of key, value and headers of a message. */
#define MAX_MESSAGE_BYTES (MaxAllocSize - 1024 * 1024)

/* Without a message's own columns: header and NULL bitmap, fixed columns. */
#define RECORD_HEADER_BYTES MAXALIGN(SizeofHeapTupleHeader + (LOG_NATTS + 7) / 8)

StaticAssertDecl(MAXALIGN(SizeofHeapTupleHeader) == RECORD_HEADER_BYTES,
				 "the NULL bitmap of a record must fit the header's padding");

/* Return true if column i can be copied as bytes, with int alignment. */
static inline bool
is_plain_varlena(TupleDesc desc, int i, Datum value)
{
	Form_pg_attribute att = TupleDescAttr(desc, i);

	return att->attlen == -1 && att->attalign == TYPALIGN_INT &&
		att->attstorage != TYPSTORAGE_PLAIN &&
		!VARATT_IS_EXTERNAL(DatumGetPointer(value));
}

/* Return where a varlena that is stored at offset pos ends. */
static inline Size
varlena_end(Size pos, Pointer val)
{
	if (VARATT_IS_SHORT(val))
		return pos + VARSIZE_SHORT(val);
	if (VARATT_CAN_MAKE_SHORT(val))
		return pos + VARATT_CONVERTED_SHORT_SIZE(val);
	return INTALIGN(pos) + VARSIZE(val);
}

/* Store a varlena there.  Return the end. */
static inline char *
put_varlena(char *base, char *data, Pointer val)
{
	Size		len;

	if (VARATT_IS_SHORT(val))
	{
		len = VARSIZE_SHORT(val);
		memcpy(data, val, len);
	}
	else if (VARATT_CAN_MAKE_SHORT(val))
	{
		len = VARATT_CONVERTED_SHORT_SIZE(val);
		SET_VARSIZE_SHORT(data, len);
		memcpy(data + 1, VARDATA(val), len - 1);
	}
	else
	{
		char	   *aligned = base + INTALIGN(data - base);

		memset(data, 0, aligned - data);
		data = aligned;
		len = VARSIZE(val);
		memcpy(data, val, len);
	}
	return data + len;
}

/* Store a deliver_at there, aligned.  Return the end. */
static char *
put_deliver_at(char *base, char *data, TimestampTz at)
{
	char	   *aligned = base + MAXALIGN(data - base);

	memset(data, 0, aligned - data);
	memcpy(aligned, &at, sizeof(at));
	return aligned + sizeof(at);
}

static HeapTuple
form_plain(int32 partition, const Datum *values, const bool *nulls)
{
	Size		pos = PGQUEUE_FIXED_BYTES;
	uint8		present = 0x07;
	int			natts = LOG_ATTR_HEADERS;
	HeapTuple	tuple;
	HeapTupleHeader header;
	char	   *base;
	char	   *data;

	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
		if (!nulls[i])
		{
			pos = varlena_end(pos, DatumGetPointer(values[i]));
			present |= 1 << i;
		}
	if (!nulls[LOG_ATTR_DELIVER_AT - 1])
	{
		pos = MAXALIGN(pos) + sizeof(TimestampTz);
		natts = LOG_ATTR_DELIVER_AT;
		present |= 1 << (natts - 1);
	}

	tuple = palloc(HEAPTUPLESIZE + RECORD_HEADER_BYTES + pos);
	header = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	memset(header, 0, RECORD_HEADER_BYTES);
	tuple->t_data = header;
	tuple->t_len = RECORD_HEADER_BYTES + pos;
	tuple->t_tableOid = InvalidOid;
	ItemPointerSetInvalid(&tuple->t_self);
	ItemPointerSetInvalid(&header->t_ctid);
	HeapTupleHeaderSetNatts(header, natts);
	header->t_hoff = RECORD_HEADER_BYTES;
	header->t_infomask = HEAP_HASVARWIDTH;
	if (present != (1 << natts) - 1)
	{
		header->t_infomask |= HEAP_HASNULL;
		header->t_bits[0] = present;
	}

	base = (char *) header + RECORD_HEADER_BYTES;
	log_fixed(header)->offset = 0;
	log_fixed(header)->timestamp = 0;
	log_fixed(header)->partition = partition;
	data = base + PGQUEUE_FIXED_BYTES;
	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
		if (!nulls[i])
			data = put_varlena(base, data, DatumGetPointer(values[i]));
	if (natts == LOG_ATTR_DELIVER_AT)
		data = put_deliver_at(base, data,
							  DatumGetTimestampTz(values[natts - 1]));
	Assert(data - base == pos);
	return tuple;
}

static HeapTuple
form_general(TupleDesc desc, int32 partition, Datum *values, bool *nulls)
{
	Size		bytes = 0;

	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
		if (!nulls[i] && TupleDescAttr(desc, i)->attlen == -1)
			bytes += toast_datum_size(values[i]);
	if (bytes > MAX_MESSAGE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("message is too large: %zu bytes, maximum %zu bytes",
						bytes, (Size) MAX_MESSAGE_BYTES)));

	values[LOG_ATTR_OFFSET - 1] = Int64GetDatum(0);
	values[LOG_ATTR_TIMESTAMP - 1] = TimestampTzGetDatum(0);
	values[LOG_ATTR_PARTITION - 1] = Int32GetDatum(partition);
	memset(nulls, false, LOG_ATTR_PARTITION * sizeof(bool));
	return heap_form_tuple(desc, values, nulls);
}

/*
 * Form the record of a message.  values and nulls are in the order of the log's
 * columns; the fixed ones are ignored, and zero until the append fills them in.
 *
 * Errors: 54000 if the message is too large for a tuple.
 */
HeapTuple
pgqueue_form_record(TupleDesc desc, int32 partition, Datum *values, bool *nulls)
{
	Size		bytes = 0;

	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
	{
		if (nulls[i])
			continue;
		if (!is_plain_varlena(desc, i, values[i]))
			return form_general(desc, partition, values, nulls);
		bytes += VARSIZE_ANY(DatumGetPointer(values[i]));
	}
	if (bytes > MAX_MESSAGE_BYTES)
		return form_general(desc, partition, values, nulls);
	return form_plain(partition, values, nulls);
}
