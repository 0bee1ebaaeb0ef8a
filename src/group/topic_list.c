/*-------------------------------------------------------------------------
 *
 * topic_list.c
 *	  Topics as arguments of SQL functions: one, or an array of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"

static Topic *
readable(text *name)
{
	Topic	   *topic = pgqueue_topic_arg(name);

	pgqueue_check_right(topic, ACL_SELECT);
	return topic;
}

/*
 * Look up the topic that an argument names, and check that the user may read it.
 *
 * Errors: 22004, 42704, 42501.
 */
Topic *
pgqueue_readable_topic(FunctionCallInfo fcinfo, int arg)
{
	pgqueue_check_not_null(fcinfo, arg, "topic");
	return readable(PG_GETARG_TEXT_PP(arg));
}

/*
 * Look up the topics that an argument names, a text or an array of texts, and
 * check that the user may read each of them.
 *
 * Errors: 22004, 22023, 42704, 42501.
 */
void
pgqueue_topic_list(FunctionCallInfo fcinfo, int arg, bool array,
				   TopicList *list)
{
	ArrayType  *names;
	Datum	   *elems;
	bool	   *nulls;

	if (!array)
	{
		list->n = 1;
		list->topics[0] = pgqueue_readable_topic(fcinfo, arg);
		return;
	}

	pgqueue_check_not_null(fcinfo, arg, "topics");
	names = PG_GETARG_ARRAYTYPE_P(arg);
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls,
					  &list->n);
	if (list->n == 0 || list->n > PGQUEUE_MAX_TOPICS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of topics must be between 1 and %d, not %d",
						PGQUEUE_MAX_TOPICS, list->n)));
	for (int i = 0; i < list->n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("topics must not contain NULL")));
		list->topics[i] = readable(DatumGetTextPP(elems[i]));
		for (int k = 0; k < i; k++)
			if (list->topics[k] == list->topics[i])
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("topics must not contain \"%s\" twice",
								list->topics[i]->name)));
	}
}
