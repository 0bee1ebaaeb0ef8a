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
#include "log/write.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"
#include "api/maintain.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomBoolVariable("queue.allow_ddl",
							 "Allows DDL that drops, rewrites or alters a topic's storage and view.",
							 "Meant for pg_restore --clean; "
							 "messages dropped this way are gone.",
							 &pgqueue_allow_ddl,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	pgqueue_view_settings_init();
	pgqueue_slot_init();
	pgqueue_wakeup_init();
	pgqueue_shared_init();
	pgqueue_maintain_init();
	pgqueue_compact_init();
	pgqueue_code_init();
	pgqueue_maintain_worker_init();
	MarkGUCPrefixReserved("queue");

	pgqueue_pin_init();
	pgqueue_catalog_init();
	/*
	 * A callback registered first is called last: poll looks at what the
	 * transaction has written when the gathered rows have gone out.
	 */
	pgqueue_poll_init();
	pgqueue_view_buffer_init();
}
