/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  What the background workers of the extension have in common.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "postmaster/bgworker.h"

#include "base/base.h"

/*
 * Fill in a background worker that connects to a database and is not started
 * again.  topic: what it works for, or NULL.  The caller sets what differs.
 */
void
pgqueue_worker_init(BackgroundWorker *worker, const char *type,
					const char *function, const char *topic)
{
	*worker = (BackgroundWorker) {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
			BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "queue"
	};
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	if (topic == NULL)
		strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	else
		snprintf(worker->bgw_name, BGW_MAXLEN, "%s for %s", type, topic);
}
