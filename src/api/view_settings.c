/*-------------------------------------------------------------------------
 *
 * view_settings.c
 *	  Producer and sequences of an INSERT or COPY into a topic's view.
 *
 * Meant for SET LOCAL, before each statement:
 *
 *	 SET LOCAL queue.producer_id = 'loader';
 *	 SET LOCAL queue.first_sequence = 1;
 *	 COPY topic.flights (key, value) FROM STDIN;
 *
 * The rows of the statement get the sequences first_sequence, first_sequence
 * + 1 and so on.  If a second statement began again at the same number, its
 * rows would be taken for duplicates and left out.  So a statement uses
 * first_sequence up, and the next one needs it to be set anew, to the same
 * value if need be.  Each SET gets a stamp; a value that an abort restores
 * comes back with its old one, and whatever was set no later than the last
 * value used counts as used, too.
 *
 * In a function with its owner's rights (SECURITY DEFINER) only values count
 * that its owner's code has set: with the caller's the function's rows could be
 * taken for duplicates, and left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "base/data.h"
#include "topic/topic.h"
#include "api/api.h"

static char *producer_id = NULL;	/* queue.producer_id */
static int	producer_epoch = 0; /* queue.producer_epoch */
static char *first_sequence = NULL; /* queue.first_sequence */

/* Stamps: of the last SET, of the value in force, of the last value used. */
static uint64 last_stamp = 0;
static uint64 current_stamp = 0;
static uint64 used_stamp = 0;

/*
 * Values that were set before this library was loaded are taken as they are,
 * and refused when they are used.  Refused at once they would be replaced by
 * the default: no producer.
 */
static bool loading = true;

/* Parse a sequence without throwing.  False if it is none. */
static bool
parse_sequence(const char *str, int64 *sequence)
{
	char	   *end;

	errno = 0;
	*sequence = strtoi64(str, &end, 10);
	return errno == 0 && end != str && *end == '\0' &&
		*sequence >= 0 && *sequence <= PGQUEUE_MAX_SEQUENCE;
}

static bool
check_producer_id(char **newval, void **extra, GucSource source)
{
	if (loading || strlen(*newval) <= PGQUEUE_MAX_PRODUCER_NAME)
		return true;
	GUC_check_errdetail("An id has 1 to %d bytes.", PGQUEUE_MAX_PRODUCER_NAME);
	return false;
}

static bool
check_first_sequence(char **newval, void **extra, GucSource source)
{
	int64		sequence;

	if (!loading && **newval != '\0' && !parse_sequence(*newval, &sequence))
	{
		GUC_check_errdetail("A sequence is a whole number from 0 to " INT64_FORMAT
							", or empty for none.", PGQUEUE_MAX_SEQUENCE);
		return false;
	}
	*extra = guc_malloc(LOG, sizeof(uint64));
	if (*extra == NULL)
		return false;
	*(uint64 *) *extra = ++last_stamp;
	return true;
}

static void
assign_first_sequence(const char *newval, void *extra)
{
	current_stamp = (newval == NULL || *newval == '\0') ? 0 :
		*(uint64 *) extra;
}

void
pgqueue_view_settings_init(void)
{
	DefineCustomStringVariable("queue.producer_id",
							   "Producer of the rows of INSERT and COPY into topics.",
							   "Empty: no producer. Needs queue.first_sequence.",
							   &producer_id, "", PGC_USERSET, 0,
							   check_producer_id, NULL, NULL);
	DefineCustomIntVariable("queue.producer_epoch",
							"Epoch of queue.producer_id.",
							NULL,
							&producer_epoch, 0, 0, PG_INT32_MAX, PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("queue.first_sequence",
							   "Sequence of the first row of the next INSERT or COPY into a topic.",
							   "Used up by that statement.",
							   &first_sequence, "", PGC_USERSET, 0,
							   check_first_sequence, assign_first_sequence,
							   NULL);
	loading = false;
}

/* ---------------- use ---------------- */

/*
 * Return true if the value of a setting counts for the current user: always,
 * but in a function with the rights of another role than the session's only if
 * a command of that role has set it.
 */
static bool
counts(const char *setting)
{
	const struct config_generic *variable;

	if (!InLocalUserIdChange() || GetUserId() == GetOuterUserId())
		return true;
	variable = pgqueue_find_setting(setting);
	return variable != NULL && variable->source == PGC_S_SESSION &&
		variable->srole == GetUserId();
}

static void
refuse_value(const char *setting, const char *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\": \"%s\"",
					setting, value)));
}

/*
 * Get the producer of the rows of a statement that begins, and the sequence of
 * its first row, which no other statement will get.
 *
 * Errors: 55000 if there is one without the other: a name misspelled must not
 * mean "no producer"; 22023 for a bad value from before this library was
 * loaded.
 */
void
pgqueue_view_settings_take(ProducerArgs *producer, MemoryContext context)
{
	bool		fresh = current_stamp > used_stamp &&
		counts("queue.first_sequence");

	producer->name = NULL;
	if (producer_id == NULL || *producer_id == '\0' ||
		!counts("queue.producer_id"))
	{
		if (fresh)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("queue.first_sequence is set, but not queue.producer_id"),
					 errhint("Set queue.producer_id, or RESET queue.first_sequence.")));
		return;
	}
	if (strlen(producer_id) > PGQUEUE_MAX_PRODUCER_NAME)
		refuse_value("queue.producer_id", producer_id);
	if (!fresh)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue.first_sequence is not set for this statement"),
				 errdetail("queue.producer_id is \"%s\"; each INSERT or COPY of a producer uses queue.first_sequence up.",
						   producer_id),
				 errhint("SET LOCAL queue.first_sequence before the statement, or RESET queue.producer_id.")));
	if (!parse_sequence(first_sequence, &producer->sequence))
		refuse_value("queue.first_sequence", first_sequence);
	used_stamp = current_stamp;
	producer->name = MemoryContextStrdup(context, producer_id);
	producer->epoch = counts("queue.producer_epoch") ? producer_epoch : 0;
}

/* Note the end of a statement: the sequence is used up, also without rows. */
void
pgqueue_view_settings_used(void)
{
	if (counts("queue.first_sequence"))
		used_stamp = Max(used_stamp, current_stamp);
}
