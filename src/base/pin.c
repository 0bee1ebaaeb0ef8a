/*-------------------------------------------------------------------------
 *
 * pin.c
 *	  Calls under way that may run user code while they use a topic's description.
 *
 * A domain's CHECK, a constraint or an index expression may produce to the
 * topic with the description that the caller is using.  While a call has a pin,
 * descriptions that are replaced are kept (topic/description.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/base.h"
#include "base/lock.h"

static int	pins = 0;

/*
 * Keep the descriptions that are replaced from here on, up to pgqueue_unpin().
 * Call it before anything that may run user code.  After an error the pin stays to
 * the end of the transaction, which costs memory only.
 */
void
pgqueue_pin(void)
{
	pins++;
}

void
pgqueue_unpin(void)
{
	if (pins > 0)
		pins--;
}

/* Return true if a call under way has a pin. */
bool
pgqueue_pinned(void)
{
	return pins > 0;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			pins = 0;
			break;
		default:
			break;
	}
}

void
pgqueue_pin_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
