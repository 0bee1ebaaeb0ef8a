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

#include "base/lock.h"

static int	pins = 0;

/*
 * Keep the descriptions that are replaced from here on, up to pgqueue_unpin()
 * or, after an error, the end of the transaction.  Call it before anything that
 * may run user code.
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

/* No call is under way then, not even when a commit begins. */
static void
transaction_ends(XactEvent event, void *arg)
{
	pins = 0;
}

void
pgqueue_pin_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
