/*-------------------------------------------------------------------------
 *
 * segment_worker.c
 *	  Have segments made for appenders that need them.
 *
 * A segment is made in a transaction of its own, by a background worker: made
 * inside a producer's transaction it would stop every other producer of the topic
 * at the same bound until that transaction ends.  It is made there all the same if
 * the topic was made in the same transaction, or if no worker can be had.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/compat.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Bytes of bgw_extra for the partitions behind the first. */
#define MORE_BYTES		96

/* What the worker is told, in bgw_extra. */
typedef struct WorkerTask
{
	Oid			database;
	Oid			log;
	int64		upto;			/* see pgqueue_make_segments() */
	int32		partition;
	uint8		more[MORE_BYTES];	/* bit i: partition + 1 + i, too */
} WorkerTask;

StaticAssertDecl(sizeof(WorkerTask) <= BGW_EXTRALEN,
				 "worker task must fit bgw_extra");

PGDLLEXPORT void pgqueue_segment_worker_main(Datum arg);

/*
 * Return true if the transaction under way has made the topic; false if the topic was
 * dropped, which the caller is told when it looks it up again.
 */
bool
pgqueue_made_in_this_transaction(Oid log)
{
	Relation	rel = pgqueue_open_to_look(log);
	bool		result;

	if (rel == NULL)
		return false;
	result = rel->rd_createSubid != InvalidSubTransactionId;
	relation_close(rel, AccessShareLock);
	return result;
}

/*
 * Return true if the transaction under way keeps a worker from making segments: it
 * has made the topic, or it holds the table in a mode that conflicts with the worker's
 * lock, mostly since it has made a segment itself.
 */
static bool
keeps_worker_away(Oid log)
{
	LOCKTAG		tag = pgqueue_tag_of_relation(log);

	for (LOCKMODE mode = ShareUpdateExclusiveLock;
		 mode <= AccessExclusiveLock; mode++)
		if (PGQUEUE_LOCK_HELD_BY_ME(&tag, mode))
			return true;
	return pgqueue_made_in_this_transaction(log);
}

static bool
has_segment_after(Topic **topic, int32 partition, int64 end)
{
	Partition  *part;

	*topic = pgqueue_topic_refresh(*topic);
	part = pgqueue_partition(*topic, partition);
	return part->nsegments > 0 && part->segments[part->nsegments - 1].end > end;
}

/*
 * Start a worker for a task, if one can be had; wait: until it is done.
 * Whether it succeeded shows in the segment list.
 */
static void
start_worker(const Topic *topic, WorkerTask *task, bool wait)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	task->database = MyDatabaseId;
	task->log = topic->log;
	pgqueue_worker_init(&worker, PGQUEUE_SEGMENT_WORKER,
						"pgqueue_segment_worker_main", topic->name);
	memcpy(worker.bgw_extra, task, sizeof(*task));
	worker.bgw_notify_pid = wait ? MyProcPid : 0;

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return;
	if (wait && WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("postmaster exited while a segment was made")));
	pfree(handle);
}

/*
 * Wait until a partition has another segment, after a producer has used up the
 * last one, or is the first to store messages there.  upto: how far the producer's
 * messages reach.  One session per partition asks a worker, the others wait for it.
 *
 * Locks: none of the extension's may be held.
 */
void
pgqueue_need_segment(Topic *topic, int32 partition, int64 upto)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int64		end = part->nsegments == 0 ? 0 :
		part->segments[part->nsegments - 1].end;
	WorkerTask	task = {.partition = partition,.upto = upto};
	LOCKTAG		tag;

	if (!keeps_worker_away(topic->log))
	{
		tag = pgqueue_tag(PGQUEUE_LOCK_SEGMENT, topic->id, partition);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		if (!has_segment_after(&topic, partition, end))
			start_worker(topic, &task, true);
		LockRelease(&tag, ExclusiveLock, false);
		if (has_segment_after(&topic, partition, end))
			return;
	}

	/* no worker, or none that gets the table's lock */
	pgqueue_lock_relation(topic->log, ShareUpdateExclusiveLock);
	if (!has_segment_after(&topic, partition, end))
		pgqueue_make_segments(topic, partition, upto);
}

/* Have a worker make the segments that a partition lacks; do not wait for it. */
void
pgqueue_make_segments_soon(const Topic *topic, int32 partition)
{
	WorkerTask	task = {.partition = partition};

	start_worker(topic, &task, false);
}

/*
 * Have one worker make the first segments of several partitions, which ascend: one
 * for each would be slow.  Those that it does not make, since the topic is locked,
 * say, are made when messages are appended to them.
 */
void
pgqueue_need_first_segments(const Topic *topic, const int32 *partitions, int n)
{
	WorkerTask	task = {0};
	int			i = 0;

	if (keeps_worker_away(topic->log))
		return;
	while (i < n)
	{
		memset(task.more, 0, sizeof(task.more));
		task.partition = partitions[i];
		for (i++; i < n; i++)
		{
			int			bit = partitions[i] - task.partition - 1;

			if (bit >= MORE_BYTES * BITS_PER_BYTE)
				break;
			task.more[bit / BITS_PER_BYTE] |= 1 << bit % BITS_PER_BYTE;
		}
		start_worker(topic, &task, true);
	}
}

/*
 * Make the segments of a partition in a transaction.  Return false if the topic is
 * locked, was dropped, or cannot be used.
 */
static bool
make_in_worker(const WorkerTask *task, int32 partition, int64 upto)
{
	char		name[NAMEDATALEN];
	Topic	   *topic = NULL;
	bool		done = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (pgqueue_lock_relation_soon(task->log, ShareUpdateExclusiveLock,
								   PGQUEUE_LOCK_PATIENCE) &&
		pgqueue_topic_of_log(task->log, name) != 0)
		topic = pgqueue_topic_find(name);
	/* another one may have been made by that name */
	if (topic != NULL && topic->log == task->log && topic->broken == NULL &&
		partition < topic->npartitions)
	{
		pgqueue_make_segments(topic, partition, upto);
		done = true;
	}
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	return done;
}

void
pgqueue_segment_worker_main(Datum arg)
{
	WorkerTask	task;
	bool		done;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(task));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(task.database, InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	/* the task is from a session that may have another library */
	pgqueue_shared_attach();

	pgqueue_set_code_rule(CODE_LIMITED);
	SetConfigOption("lock_timeout", CppAsString2(PGQUEUE_LOCK_PATIENCE),
					PGC_SUSET, PGC_S_OVERRIDE);
	pgqueue_no_transaction_timeout();
	pgstat_report_activity(STATE_RUNNING, "making queue segments");
	done = make_in_worker(&task, task.partition, task.upto);
	for (int i = 0; done && i < MORE_BYTES * BITS_PER_BYTE; i++)
		if (task.more[i / BITS_PER_BYTE] & (1 << i % BITS_PER_BYTE))
			done = make_in_worker(&task, task.partition + 1 + i, 0);
	proc_exit(0);
}
