/*-------------------------------------------------------------------------
 *
 * log_worker.c
 *	  A background worker that makes segments, in a transaction of its own.
 *
 * Dynamic: needs no shared_preload_libraries.	It runs as the bootstrap
 * superuser and, for the DDL itself, as the extension's owner; it lives for
 * one transaction.	 A producer that waits for it may hold locks that it needs,
 * so it waits for locks only for a moment and else goes away; the producer then
 * makes the segment itself, where the deadlock detector sees it.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

/* How long the worker tries to lock the topic's table, in milliseconds. */
#define LOCK_PATIENCE	500
/* How long it waits for any other lock. */
#define WORKER_LOCK_TIMEOUT "500ms"

/* What the worker is told, in bgw_extra. */
typedef struct WorkerTask
{
	Oid			database;
	Oid			log;
	int32		partition;
	int64		upto;
	char		topic[NAMEDATALEN];
} WorkerTask;

StaticAssertDecl(sizeof(WorkerTask) <= BGW_EXTRALEN,
				 "worker task must fit bgw_extra");

PGDLLEXPORT void pgqueue_segment_worker_main(Datum arg);

/*
 * Start a worker for one partition; wait: until it is done.  False if none
 * could be started.  Whether it succeeded shows in the segment list.
 */
bool
pgqueue_segment_worker(Topic *topic, int32 partition, int64 upto, bool wait)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	WorkerTask	task = {0};

	task.database = MyDatabaseId;
	task.log = topic->log;
	task.partition = partition;
	task.upto = upto;
	strlcpy(task.topic, topic->name, NAMEDATALEN);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "queue", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pgqueue_segment_worker_main",
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, PGQUEUE_SEGMENT_WORKER " for %s",
			 topic->name);
	strlcpy(worker.bgw_type, PGQUEUE_SEGMENT_WORKER, BGW_MAXLEN);
	memcpy(worker.bgw_extra, &task, sizeof(task));
	worker.bgw_notify_pid = wait ? MyProcPid : 0;

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return false;
	if (wait)
	{
		if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
			ereport(FATAL,
					(errcode(ERRCODE_ADMIN_SHUTDOWN),
					 errmsg("postmaster exited while a segment was made")));
		pfree(handle);
	}
	return true;
}

void
pgqueue_segment_worker_main(Datum arg)
{
	WorkerTask	task;
	Topic	   *topic;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(task));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(task.database, InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	/* the task is from a session that may have another library */
	pgqueue_shared_attach();

	pgqueue_set_code_rule(CODE_LIMITED);
	SetConfigOption("lock_timeout", WORKER_LOCK_TIMEOUT, PGC_SUSET,
					PGC_S_OVERRIDE);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "making queue segments");
	if (pgqueue_lock_relation_soon(task.log, ShareUpdateExclusiveLock, LOCK_PATIENCE))
	{
		topic = pgqueue_topic_find(task.topic);
		/* the topic may have been dropped meanwhile, or another one made */
		if (topic != NULL && topic->log == task.log &&
			topic->broken == NULL &&
			task.partition < topic->npartitions)
			pgqueue_make_segments(topic, task.partition, task.upto);
	}
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}
