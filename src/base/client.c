/*-------------------------------------------------------------------------
 *
 * client.c
 *	  The session's client: sleep, and notice that it is gone.
 *
 * The server learns that a client is gone when it reads or writes, which a
 * session that sleeps in a call does not do.  So a sleeper watches the connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#include "base/client.h"

/*
 * From libpq/libpq.h, which includes headers of libraries that need not be
 * installed where an extension is built.  NULL: no client.
 */
extern PGDLLIMPORT WaitEventSet *FeBeWaitSet;
extern bool pq_check_connection(void);

/*
 * End the session if its client has closed the connection.  May reset the latch.
 * A client of which the network tells nothing counts as connected, until
 * tcp_keepalives_idle and the like find out.
 *
 * Errors: FATAL 08006.
 */
void
pgqueue_check_client(void)
{
	if (FeBeWaitSet == NULL || !WaitEventSetCanReportClosed() ||
		pq_check_connection())
		return;
	ClientConnectionLost = true;
	InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
}

/*
 * Sleep until the latch is set, or the client closes the connection, or for a
 * number of milliseconds.  event: as in pg_stat_activity.  The caller has called
 * pgqueue_check_client(), which also lets the set of events watch for the end of
 * the connection, and calls it again afterwards.
 */
void
pgqueue_sleep(long ms, uint32 event)
{
	WaitEvent	events[3];		/* socket, latch, postmaster */
	int			n;

	if (FeBeWaitSet == NULL || !WaitEventSetCanReportClosed())
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, event);
	else
	{
		n = WaitEventSetWait(FeBeWaitSet, ms, events, lengthof(events), event);
		for (int i = 0; i < n; i++)
			if (events[i].events & WL_POSTMASTER_DEATH)
				proc_exit(1);
	}
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}
