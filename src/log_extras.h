/*-------------------------------------------------------------------------
 *
 * log_extras.h
 *	  What a segment may have beyond the log: indexes and CHECK constraints
 *	  that the topic's owner added.	 For log_append.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_LOG_EXTRAS_H
#define PGQUEUE_LOG_EXTRAS_H

#include "queue.h"

typedef struct LogExtras LogExtras;

extern LogExtras *pgqueue_extras_begin(Relation leaf);
extern void pgqueue_extras_check(LogExtras *extras, HeapTuple *tuples, int n);
extern void pgqueue_extras_index(LogExtras *extras, HeapTuple *tuples, int n);
extern void pgqueue_extras_end(LogExtras *extras);

#endif							/* PGQUEUE_LOG_EXTRAS_H */
