/*-------------------------------------------------------------------------
 *
 * producer_args.c
 *	  The arguments that name a producer and its sequences.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "producer/producer.h"
#include "api/api.h"

/*
 * Return producer_id and epoch, and check whether a sequence may come with
 * them.
 *
 * Errors: 22004, 22023, 42602.
 */
ProducerArgs
pgqueue_producer_args(FunctionCallInfo fcinfo, int name_arg, int epoch_arg,
					  bool has_sequence, const char *sequence_name)
{
	ProducerArgs args = {0};

	if (PG_ARGISNULL(name_arg))
	{
		if (has_sequence)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s needs a producer_id", sequence_name)));
		if (!PG_ARGISNULL(epoch_arg) && PG_GETARG_INT32(epoch_arg) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("epoch needs a producer_id")));
		return args;
	}
	args.name = pgqueue_name_arg(PG_GETARG_TEXT_PP(name_arg), "producer_id");
	pgqueue_check_not_null(fcinfo, epoch_arg, "epoch");
	args.epoch = PG_GETARG_INT32(epoch_arg);
	if (args.epoch < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("epoch must not be negative: %d", args.epoch)));
	return args;
}
