/*-------------------------------------------------------------------------
 *
 * guard_check.c
 *	  Checks of a topic's table, segments and view after a DDL command.
 *
 * topic/description.c checks the same when it looks a topic up (log/shape.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/topic.h"
#include "producer/dedupe.h"
#include "api/api.h"

/* Triggers of a topic's view, and what they must be. */
static const struct
{
	const char *name;
	const char *function;
	int16		type;
}			view_triggers[] =
{
	{"produce", "topic_insert",
	TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSTEAD | TRIGGER_TYPE_INSERT},
	{"produce_flush", "topic_flush", TRIGGER_TYPE_INSERT},
	{"refuse_change", "refuse_change",
	TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE},
	{"refuse_row", "refuse_change",
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSTEAD | TRIGGER_TYPE_UPDATE |
	TRIGGER_TYPE_DELETE},
};

/* Return true if it is <prefix><number>, or <prefix><number>_... */
static bool
is_numbered(const char *name, const char *prefix)
{
	const char *rest = name + strlen(prefix);
	size_t		digits;

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return false;
	digits = strspn(rest, "0123456789");
	return digits > 0 && (rest[digits] == '\0' || rest[digits] == '_');
}

/* Return true if a table of this name may be a topic's storage. */
static bool
is_storage_name(const char *name)
{
	return is_numbered(name, "log_") || is_numbered(name, "dedupe_");
}

/*
 * Return true if a dropped object belonged to a topic: a table, the view, a
 * trigger of the view, or the default that answers for a trigger which does not
 * fire.  names: its schema, relation, and part of the relation.
 */
bool
pgqueue_belongs_to_topic(const char *type, const char *const *names)
{
	bool		is_view = strcmp(type, "view") == 0;
	bool		is_default = strcmp(type, "default value") == 0;

	if (names[0] == NULL || names[1] == NULL)
		return false;
	if (!is_view && !is_default && strcmp(type, "trigger") != 0)
		return strcmp(names[0], PGQUEUE_SCHEMA) == 0 &&
			is_storage_name(names[1]);
	if (strcmp(names[0], PGQUEUE_VIEW_SCHEMA) != 0 ||
		pgqueue_topic_id(names[1]) == 0)
		return false;
	if (is_view || names[2] == NULL)
		return is_view;
	if (is_default)
		return strcmp(names[2], "offset") == 0;
	for (int i = 0; i < lengthof(view_triggers); i++)
		if (strcmp(names[2], view_triggers[i].name) == 0)
			return true;
	return false;
}

/* Refuse a command after which a relation has a flaw, if it has one. */
static void
refuse_flaw(const char *name, const char *flaw)
{
	if (flaw != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot alter \"%s\" in this way: it belongs to a topic", name),
				 errdetail_internal("%s", flaw),
				 errhint("Indexes and CHECK constraints may be added to a topic's table. REASSIGN OWNED gives a topic to another role.")));
}

/* Return what is wrong with the name of a topic's table or segment, or NULL. */
static const char *
name_flaw(Relation rel, int32 topic_id)
{
	const char *name = RelationGetRelationName(rel);
	const char *prefix = psprintf("log_%d", topic_id);

	if (strncmp(name, prefix, strlen(prefix)) == 0 &&
		(name[strlen(prefix)] == '_' ||
		 (name[strlen(prefix)] == '\0' && !rel->rd_rel->relispartition)))
		return NULL;
	return psprintf("\"%s\" is not named after its topic.", name);
}

/* Return the type of a topic's values. */
static Oid
value_type(Relation log)
{
	return TupleDescAttr(RelationGetDescr(log), LOG_ATTR_VALUE - 1)->atttypid;
}

/* Check one partition of a topic's table. */
static void
check_segment(Oid relid, Relation log, int32 topic_id)
{
	Relation	leaf = relation_open(relid, AccessShareLock);
	const char *name = RelationGetRelationName(leaf);

	refuse_flaw(name, pgqueue_segment_flaw(leaf, log->rd_rel->relowner,
										   value_type(log), true));
	refuse_flaw(name, name_flaw(leaf, topic_id));
	relation_close(leaf, AccessShareLock);
}

/* Check a topic's table, and its partitions, or the one just attached. */
static void
check_table(Relation log, int32 topic_id)
{
	Oid			attached = pgqueue_attaching;
	ListCell   *lc;

	refuse_flaw(RelationGetRelationName(log), pgqueue_table_flaw(log));
	refuse_flaw(RelationGetRelationName(log), name_flaw(log, topic_id));
	if (OidIsValid(attached) &&
		get_partition_parent(attached, true) == RelationGetRelid(log))
	{
		check_segment(attached, log, topic_id);
		return;
	}
	foreach(lc, find_inheritance_children(RelationGetRelid(log),
										  AccessShareLock))
		check_segment(lfirst_oid(lc), log, topic_id);
}

/* Return true if the view's query selects the log's columns, of all rows. */
static bool
selects_log(Relation view, Oid log)
{
	Query	   *query = get_view_query(view);
	RangeTblRef *from;
	RangeTblEntry *rte;
	ListCell   *lc;

	if (list_length(query->jointree->fromlist) != 1 ||
		list_length(query->targetList) != VIEW_NATTS ||
		query->jointree->quals != NULL || query->cteList != NIL ||
		query->groupClause != NIL || query->groupingSets != NIL ||
		query->havingQual != NULL || query->distinctClause != NIL ||
		query->limitOffset != NULL || query->limitCount != NULL ||
		query->setOperations != NULL)
		return false;
	from = linitial(query->jointree->fromlist);
	if (!IsA(from, RangeTblRef))
		return false;
	rte = rt_fetch(from->rtindex, query->rtable);
	if (rte->rtekind != RTE_RELATION || rte->relid != log || !rte->inh ||
		rte->tablesample != NULL)
		return false;
	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Var		   *var = (Var *) entry->expr;

		if (!IsA(var, Var) || var->varno != from->rtindex ||
			var->varattno != pgqueue_view_columns[foreach_current_index(lc)])
			return false;
	}
	return true;
}

static Oid
own_function(const char *name)
{
	return LookupFuncName(list_make2(makeString(PGQUEUE_SCHEMA),
									 makeString(pstrdup(name))),
						  0, NULL, true);
}

static bool
calls_function(Node *node, void *function)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == *(Oid *) function)
		return true;
	return expression_tree_walker(node, calls_function, function);
}

/* Return true if a default refuses rows that no trigger would store. */
static bool
default_guards(Relation view)
{
	TupleConstr *constr = RelationGetDescr(view)->constr;
	Oid			guard = own_function("insert_guard");

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
		if (constr->defval[i].adnum == VIEW_ATTR_OFFSET)
			return calls_function(stringToNode(constr->defval[i].adbin), &guard);
	return false;
}

static Trigger *
find_trigger(Relation view, const char *name)
{
	TriggerDesc *desc = view->trigdesc;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, name) == 0)
			return &desc->triggers[i];
	return NULL;
}

/* Return what is wrong with the triggers, or NULL; complete: all are there. */
static const char *
triggers_flaw(Relation view, const char *topic, bool complete)
{
	for (int i = 0; i < lengthof(view_triggers); i++)
	{
		const char *name = view_triggers[i].name;
		Trigger    *trigger = find_trigger(view, name);

		if (trigger == NULL && complete)
			return psprintf("Trigger \"%s\" of view \"%s\" is missing.", name,
							RelationGetRelationName(view));
		if (trigger == NULL)
			continue;
		if (trigger->tgfoid != own_function(view_triggers[i].function) ||
			trigger->tgtype != view_triggers[i].type ||
			trigger->tgqual != NULL ||
			trigger->tgenabled != TRIGGER_FIRES_ON_ORIGIN ||
			(i == 0 && (trigger->tgnargs != 1 ||
						strcmp(trigger->tgargs[0], topic) != 0)))
			return psprintf("Trigger \"%s\" of view \"%s\" is changed or disabled.",
							name, RelationGetRelationName(view));
	}
	return NULL;
}

/*
 * Return what is wrong with a topic's view, or NULL.  A restore makes its
 * triggers one by one, so only a command that renames one asks for all.
 */
static const char *
view_flaw(Relation view, const char *topic, Relation log, bool renamed)
{
	const char *flaw = pgqueue_table_flaw(log);

	if (flaw == NULL)
		flaw = pgqueue_view_flaw(view, value_type(log));
	if (flaw != NULL)
		return flaw;
	if (strcmp(topic, RelationGetRelationName(view)) != 0)
		return psprintf("The view of a topic has the topic's name, \"%s\".",
						topic);
	if (RelationGetNamespace(view) !=
		get_namespace_oid(PGQUEUE_VIEW_SCHEMA, false))
		return "The view of a topic is in schema \"" PGQUEUE_VIEW_SCHEMA "\".";
	if (view->rd_rel->relowner != log->rd_rel->relowner)
		return "View and table of a topic belong to the same role.";
	if (!selects_log(view, RelationGetRelid(log)))
		return "The view of a topic shows the topic's table as it is.";
	if (view->rd_rules == NULL || view->rd_rules->numLocks != 1)
		return "The view of a topic has no rules.";
	if (!default_guards(view))
		return "The default of column \"offset\" calls queue.insert_guard().";
	return triggers_flaw(view, topic, renamed);
}

/*
 * Return the topic that has this view: by its name or, if it may be the one
 * that was renamed, by its trigger.
 */
static const char *
topic_of_view(Relation view)
{
	Oid			schema = get_namespace_oid(PGQUEUE_VIEW_SCHEMA, false);
	Trigger    *trigger = find_trigger(view, view_triggers[0].name);

	if (RelationGetNamespace(view) == schema &&
		pgqueue_topic_id(RelationGetRelationName(view)) != 0)
		return RelationGetRelationName(view);
	if (trigger != NULL && trigger->tgtype == view_triggers[0].type &&
		trigger->tgnargs == 1 && pgqueue_topic_id(trigger->tgargs[0]) != 0 &&
		!OidIsValid(get_relname_relid(trigger->tgargs[0], schema)))
		return trigger->tgargs[0];
	return NULL;
}

/* Check a view, if it is that of a topic.  renamed: a trigger was renamed. */
void
pgqueue_check_view(Relation view, bool renamed)
{
	const char *topic = topic_of_view(view);
	Relation	log = topic == NULL ? NULL :
		try_relation_open(pgqueue_log_of_topic(topic), AccessShareLock);

	if (log == NULL)
		return;
	refuse_flaw(RelationGetRelationName(view),
				view_flaw(view, topic, log, renamed));
	relation_close(log, AccessShareLock);
}

/*
 * Return the topic that has this table, or that has it as a partition, or 0.
 * *log: the topic's table.
 */
static int32
topic_of_table(Oid relid, Oid *log)
{
	int32		topic_id = 0;

	*log = relid;
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		topic_id = pgqueue_topic_of_log(relid, NULL);
	if (topic_id == 0 && get_rel_relispartition(relid))
	{
		*log = get_partition_parent(relid, true);
		topic_id = pgqueue_topic_of_log(*log, NULL);
	}
	return topic_id;
}

/*
 * Refuse a foreign key to a topic: it would never hold, since its check locks
 * rows, which a log refuses; and its triggers would keep producers out.
 */
static void
check_foreign_keys(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *key = lfirst_node(ForeignKeyCacheInfo, lc);
		Oid			log;

		if (topic_of_table(key->confrelid, &log) != 0)
			refuse_flaw(get_rel_name(key->confrelid),
						 "A foreign key cannot reference a topic's table.");
	}
}

/*
 * Check a bucket of dedupe keys.  Its index may be missing: it is restored later.
 */
static void
check_bucket(Relation rel)
{
	if (is_numbered(RelationGetRelationName(rel), "dedupe_") &&
		RelationGetNamespace(rel) == get_namespace_oid(PGQUEUE_SCHEMA, false))
		refuse_flaw(RelationGetRelationName(rel), pgqueue_bucket_flaw(rel));
}

/*
 * Check a table after a command.  A partitioned table of any origin may have a
 * topic's table among its partitions now.
 */
void
pgqueue_check_relation(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Oid			log_id;
	int32		topic_id = topic_of_table(relid, &log_id);

	if (topic_id != 0 && relid == log_id)
		check_table(rel, topic_id);
	else if (topic_id != 0)
	{
		Relation	log = relation_open(log_id, AccessShareLock);

		check_segment(relid, log, topic_id);
		relation_close(log, AccessShareLock);
	}
	else if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		ListCell   *lc;

		foreach(lc, find_inheritance_children(relid, NoLock))
			if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_PARTITIONED_TABLE &&
				pgqueue_topic_of_log(lfirst_oid(lc), NULL) != 0)
				refuse_flaw(get_rel_name(lfirst_oid(lc)),
							 "A topic's table cannot be a partition.");
	}
	if (topic_id == 0)
		check_bucket(rel);
	if (topic_id == 0 && rel->trigdesc != NULL)
		check_foreign_keys(rel);
}
