/*-------------------------------------------------------------------------
 *
 * module.c
 *	  The module: magic block, settings, initialization.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/cut.h"
#include "log/write.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"
#include "api/maintain.h"
#include "api/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* Define the settings, but for those beside their checks (api/view_settings.c). */
static void
define_settings(void)
{
	DefineCustomBoolVariable("queue.allow_ddl",
							 "Allows DDL that drops, rewrites or alters a topic's storage and view.",
							 "Meant for pg_restore --clean; "
							 "messages dropped this way are gone.",
							 &pgqueue_allow_ddl, false, PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("queue.autocommit_warning",
							 "Warns, once in a session, when messages are consumed outside a transaction block.",
							 "The offset is committed before the client has the messages.",
							 &pgqueue_autocommit_warning, true, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("queue.recheck_interval",
							"Sets how often a session that waits for messages looks without being woken.",
							"Commits wake it. Prepared transactions, leases that expire, "
							"and the WAL that a standby replays do not.",
							&pgqueue_recheck_interval, 1000, 10, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.history_retention",
							"Sets how long queue.maintain() keeps the history of offsets.",
							"Rows of queue.progress behind the newest; 0 keeps only that.",
							&pgqueue_history_retention, 7 * 24 * 60, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.compaction_memory",
							"Sets how much memory compaction uses for keys.",
							"-1: as much as maintenance_work_mem.",
							&pgqueue_compaction_memory, -1, -1, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomRealVariable("queue.compaction_min_dirty_ratio",
							 "Sets how much of a partition's sealed segments must be dirty before it is compacted.",
							 "The part of their bytes that was never compacted.",
							 &pgqueue_compaction_min_dirty_ratio, 0.5, 0, 1,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.code_timeout",
							"Sets how long functions in a topic's constraints and indexes may run in a background worker.",
							"A worker in which they run longer ends.",
							&pgqueue_code_timeout, 60000, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.maintenance_interval",
							"Sets how often the maintenance worker does a pass.",
							NULL, &pgqueue_maintenance_interval, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	pgqueue_view_settings_init();
	MarkGUCPrefixReserved("queue");
}

void
_PG_init(void)
{
	define_settings();
	pgqueue_slot_init();
	pgqueue_cut_init();
	pgqueue_wakeup_init();
	pgqueue_maintain_state_init();
	pgqueue_worker_state_init();
	pgqueue_shared_init();
	pgqueue_maintain_worker_init();
	pgqueue_maintain_persist_init();
	pgqueue_worker_start_init();
	pgqueue_pin_init();
	pgqueue_catalog_init();
	/*
	 * A callback registered first is called last: poll looks at what the
	 * transaction has written when the gathered rows have gone out.
	 */
	pgqueue_poll_init();
	pgqueue_view_buffer_init();
}
