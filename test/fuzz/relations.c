/*-------------------------------------------------------------------------
 *
 * relations.c
 *	  What the topics of the fuzzing sessions look like now: their tables,
 *	  their owners, and the types of their values.
 *
 * The main thread reads this from the catalog again and again; the sessions
 * take names from it.  A choice draws the same numbers whatever there is.
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

typedef struct Relation
{
	char	   *name;
	bool		segment;		/* or a topic's table */
	int			topic;			/* number in its name; -1 = none */
	int			owners;			/* personae with the owner's rights, as bits */
} Relation;

static Relation *relations;
static int	relation_count;
static char *type_of[TOPICS];
static char *next_bound[TOPICS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Everything but the tables of the control group. */
static const char relation_query[] =
	"SELECT format('%I.%I', n.nspname, c.relname), c.relkind,"
	"       coalesce(substr(t.name, 2), '-1'),"
	"       pg_has_role('fuzz_owner1', c.relowner, 'USAGE')::int"
	"       + 2 * pg_has_role(coalesce(to_regrole('fuzz_owner2'), to_regrole('fuzz_renamed')), c.relowner, 'USAGE')::int"
	"       + 4 * pg_has_role('fuzz_member', c.relowner, 'USAGE')::int"
	"  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	"  LEFT JOIN queue.topic t ON t.name ~ '^t[0-5]$'"
	"   AND c.relname ~ ('^log_' || t.topic_id || '(_|$)')"
	" WHERE n.nspname = 'queue' AND c.relname ~ '^log_[0-9]'"
	"   AND c.relkind IN ('r', 'p')"
	"   AND c.relowner <> 'control_owner'::regrole"
	" ORDER BY c.oid";

/* The end of the last segment of partition 0. */
static const char topic_query[] =
	"SELECT substr(t.name, 2), format_type(a.atttypid, a.atttypmod),"
	"       coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO [(]0, .([0-9]+)'))[1]::numeric), 0)"
	"  FROM queue.topic t"
	"  JOIN pg_attribute a ON a.attrelid = t.log AND a.attname = 'value'"
	"  LEFT JOIN pg_inherits i ON i.inhparent = t.log"
	"  LEFT JOIN pg_class c ON c.oid = i.inhrelid"
	" WHERE t.name ~ '^t[0-5]$'"
	" GROUP BY 1, 2";

static void
replace_relations(const PGresult *res)
{
	for (int i = 0; i < relation_count; i++)
		free(relations[i].name);
	relation_count = PQntuples(res);
	relations = must_alloc(relations, (relation_count + 1) * sizeof(Relation));
	for (int i = 0; i < relation_count; i++)
	{
		relations[i].name = must_copy(PQgetvalue(res, i, 0));
		relations[i].segment = *PQgetvalue(res, i, 1) == 'r';
		relations[i].topic = atoi(PQgetvalue(res, i, 2));
		relations[i].owners = atoi(PQgetvalue(res, i, 3));
	}
}

static void
replace_text(char **text, const char *by)
{
	free(*text);
	*text = must_copy(by);
}

/* What cannot be read now, for example because of a lock, stays as it was. */
void
read_relations(PGconn *conn)
{
	PGresult   *tables = PQexec(conn, relation_query);
	PGresult   *topics = PQexec(conn, topic_query);

	pthread_mutex_lock(&lock);
	if (PQresultStatus(tables) == PGRES_TUPLES_OK)
		replace_relations(tables);
	if (PQresultStatus(topics) == PGRES_TUPLES_OK)
		for (int i = 0; i < PQntuples(topics); i++)
		{
			int			topic = atoi(PQgetvalue(topics, i, 0));

			replace_text(&type_of[topic], PQgetvalue(topics, i, 1));
			replace_text(&next_bound[topic], PQgetvalue(topics, i, 2));
		}
	pthread_mutex_unlock(&lock);
	PQclear(tables);
	PQclear(topics);
}

/*
 * Write the name of a table.  Mostly it is one of the statement's topic, and
 * of a role whose rights the session has, if there is one.
 */
void
put_relation(Draw *draw, bool logs, bool segments, Text *to)
{
	uint64_t	which = draw_number(draw, 0);
	bool		of_topic = draw_number(draw, 4) != 0;
	bool		own = draw_number(draw, 8) != 0 && draw->owner != 0;

	pthread_mutex_lock(&lock);
	for (int strictness = 2; strictness >= 0; strictness--)
	{
		int			count = 0;
		const char *chosen = NULL;

		for (int pass = 0; pass < 2 && (pass == 0 || count > 0); pass++)
		{
			uint64_t	skip = pass == 0 ? UINT64_MAX : which % count;

			for (int i = 0; i < relation_count && chosen == NULL; i++)
			{
				const Relation *relation = &relations[i];

				if (!(relation->segment ? segments : logs) ||
					(strictness > 0 && own &&
					 (relation->owners & draw->owner) == 0) ||
					(strictness > 1 && of_topic &&
					 relation->topic != draw->topic))
					continue;
				if (pass == 0)
					count++;
				else if (skip-- == 0)
					chosen = relation->name;
			}
		}
		if (chosen != NULL || strictness == 0)
		{
			text_put(to, chosen != NULL ? chosen : "queue.log_0");
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* Write the type of the values of the statement's topic. */
void
put_topic_type(const Draw *draw, Text *to)
{
	pthread_mutex_lock(&lock);
	text_put(to, type_of[draw->topic] != NULL ? type_of[draw->topic] : "text");
	pthread_mutex_unlock(&lock);
}

/* Write the first offset behind the segments of the statement's topic. */
void
put_next_bound(const Draw *draw, Text *to)
{
	pthread_mutex_lock(&lock);
	text_put(to, next_bound[draw->topic] != NULL ? next_bound[draw->topic] : "0");
	pthread_mutex_unlock(&lock);
}
