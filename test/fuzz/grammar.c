/*-------------------------------------------------------------------------
 *
 * grammar.c
 *	  Statements, drawn from a grammar and from the functions in the catalog.
 *
 * A grammar file holds rules.  "name =" in the first column begins one; each
 * indented line below it is an alternative, with a weight before it ("5*") or
 * without.  "<name>" in an alternative stands for an alternative of that rule,
 * or for one of these:
 *
 *	  <int:LOW:HIGH>	a number, both bounds included
 *	  <long:N>			N letters
 *	  <session> <step>	numbers of the session and of the statement
 *	  <call>			a call of one of the schema's functions
 *	  <procedure>		a call of one of its procedures
 *	  <by_hand>			a call of what is not called by hand, such as a trigger
 *	  <log> <segment> <relation>	a topic's table, a segment, one of the two
 *	  <same>			the number of the topic that the statement is about
 *	  <same_type>		the type of its values
 *	  <next_bound>		the first offset behind the segments of its partition 0
 *
 * An argument of a call is drawn from the first of these rules that exists:
 * "arg:FUNCTION.ARGUMENT", "arg:ARGUMENT", "type:TYPE", "type:any".
 *
 * The draws of a statement depend on nothing but the seed, so a session sends
 * the same sequence of statements in each run; only what relations.c fills in
 * depends on what other sessions have done.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define MAX_DEPTH 30

typedef struct Alternative
{
	int			weight;
	char	   *text;
} Alternative;

typedef struct Rule
{
	char	   *name;
	int			total;			/* sum of the weights */
	int			count;
	Alternative *list;
} Rule;

typedef struct Argument
{
	char	   *name;
	char	   *type;
} Argument;

typedef struct Function
{
	char	   *name;
	char		kind;			/* 'f', 'p', or 't': returns a pseudo-type */
	int			required;		/* arguments without a default */
	int			count;
	Argument   *list;
} Function;

static Rule *rules;
static int	rule_count;
static Function *functions;
static int	function_count;

static void expand_text(Draw *draw, const char *from, Text *to, int depth);

/* ----------
 * Strings and numbers
 * ----------
 */

void
text_add(Text *text, const char *from, size_t length)
{
	if (text->length + length + 1 > text->room)
	{
		text->room = 2 * (text->length + length + 1);
		text->data = must_alloc(text->data, text->room);
	}
	memcpy(text->data + text->length, from, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void
text_put(Text *text, const char *from)
{
	text_add(text, from, strlen(from));
}

/* splitmix64 */
uint64_t
draw_number(Draw *draw, uint64_t below)
{
	uint64_t	z = (draw->random += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	z ^= z >> 31;
	return below == 0 ? z : z % below;
}

/* ----------
 * The grammar's file
 * ----------
 */

static Rule *
find_rule(const char *name)
{
	for (int i = 0; i < rule_count; i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	return NULL;
}

/* Find the rule that a session of this kind uses for the name. */
static Rule *
find_variant(const Draw *draw, const char *name)
{
	char		variant[300];
	Rule	   *rule;

	snprintf(variant, sizeof(variant), "%s:%s", draw->persona, name);
	rule = find_rule(variant);
	return rule != NULL ? rule : find_rule(name);
}

static void
add_alternative(Rule *rule, const char *line)
{
	Alternative *alternative;
	char	   *end;
	long		weight = strtol(line, &end, 10);

	if (end != line && *end == '*')
	{
		line = end + 1;
		line += strspn(line, " \t");
	}
	else
		weight = 1;
	rule->list = must_alloc(rule->list,
							(rule->count + 1) * sizeof(Alternative));
	alternative = &rule->list[rule->count++];
	alternative->weight = (int) weight;
	alternative->text = must_copy(line);
	rule->total += alternative->weight;
}

/* Refuse a placeholder that names nothing, so that no alternative is dead. */
static void
check_placeholders(const char *from)
{
	static const char *const built_in[] = {
		"session", "step", "same", "same_type", "next_bound", "call",
		"procedure", "by_hand", "log", "segment", "relation"
	};

	for (const char *p = strchr(from, '<'); p != NULL; p = strchr(p + 1, '<'))
	{
		size_t		length = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz0123456789_:-");
		char		name[64];
		bool		known;

		if (length == 0 || length >= sizeof(name) || p[1 + length] != '>')
			continue;
		memcpy(name, p + 1, length);
		name[length] = '\0';
		known = find_rule(name) != NULL ||
			strncmp(name, "int:", 4) == 0 || strncmp(name, "long:", 5) == 0;
		for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++)
			known = known || strcmp(name, built_in[i]) == 0;
		if (!known)
		{
			fprintf(stderr, "fuzz: no rule \"%s\", in: %s\n", name, from);
			exit(2);
		}
	}
}

void
read_grammar(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[4096];

	if (file == NULL)
	{
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *start = line + strspn(line, " \t");

		line[strcspn(line, "\n")] = '\0';
		if (*start == '\0' || *line == '#')
			continue;
		if (start == line)
		{
			line[strcspn(line, " =")] = '\0';
			rules = must_alloc(rules, (rule_count + 1) * sizeof(Rule));
			memset(&rules[rule_count], 0, sizeof(Rule));
			rules[rule_count++].name = must_copy(line);
		}
		else if (rule_count > 0)
			add_alternative(&rules[rule_count - 1], start);
	}
	fclose(file);
	for (int i = 0; i < rule_count; i++)
		for (int j = 0; j < rules[i].count; j++)
			check_placeholders(rules[i].list[j].text);
}

/* ----------
 * The catalog
 * ----------
 */

static PGresult *
must_query(PGconn *conn, const char *sql)
{
	PGresult   *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
	{
		fprintf(stderr, "fuzz: %s: %s", sql, PQerrorMessage(conn));
		exit(2);
	}
	return res;
}

/* Read which functions there are, in an order that OIDs do not decide. */
void
read_signatures(PGconn *conn)
{
	PGresult   *res = must_query(conn,
		"SELECT p.oid::regprocedure::text, p.proname,"
		"       CASE WHEN p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype, 'table_am_handler'::regtype) THEN 't' ELSE p.prokind END,"
		"       p.pronargs - p.pronargdefaults, a.n,"
		"       coalesce(p.proargnames[a.n], ''), t.typname"
		"  FROM pg_proc p"
		"  LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY a(type, n) ON true"
		"  LEFT JOIN pg_type t ON t.oid = a.type"
		" WHERE p.pronamespace = 'queue'::regnamespace"
		" ORDER BY p.oid::regprocedure::text COLLATE \"C\", a.n");
	const char *last = "";

	for (int i = 0; i < PQntuples(res); i++)
	{
		Function   *function;

		if (strcmp(PQgetvalue(res, i, 0), last) != 0)
		{
			last = PQgetvalue(res, i, 0);
			functions = must_alloc(functions,
								   (function_count + 1) * sizeof(Function));
			function = &functions[function_count++];
			memset(function, 0, sizeof(Function));
			function->name = must_copy(PQgetvalue(res, i, 1));
			function->kind = *PQgetvalue(res, i, 2);
			function->required = atoi(PQgetvalue(res, i, 3));
		}
		function = &functions[function_count - 1];
		if (PQgetisnull(res, i, 4))
			continue;
		function->list = must_alloc(function->list,
									(function->count + 1) * sizeof(Argument));
		function->list[function->count].name = must_copy(PQgetvalue(res, i, 5));
		function->list[function->count++].type = must_copy(PQgetvalue(res, i, 6));
	}
	PQclear(res);
}

/* ----------
 * Expansion
 * ----------
 */

static void
put_alternative(Draw *draw, const Rule *rule, Text *to, int depth)
{
	int			which = (int) draw_number(draw, rule->total);
	int			i = 0;

	while (which >= rule->list[i].weight)
		which -= rule->list[i++].weight;
	expand_text(draw, rule->list[i].text, to, depth + 1);
}

/* An array's type is named by that of its elements, behind "_". */
static void
put_argument(Draw *draw, const Function *function, const Argument *argument,
			 Text *to, int depth)
{
	char		name[256];
	Rule	   *rule;

	snprintf(name, sizeof(name), "arg:%s.%s", function->name, argument->name);
	rule = find_rule(name);
	snprintf(name, sizeof(name), "arg:%s", argument->name);
	if (rule == NULL)
		rule = find_rule(name);
	snprintf(name, sizeof(name), "type:%s", argument->type);
	/* now and then anything of the type, whatever the argument is for */
	if (rule == NULL || (find_rule(name) != NULL && draw_number(draw, 10) == 0))
		rule = find_rule(name);
	if (rule == NULL)
		rule = find_rule("type:any");
	put_alternative(draw, rule, to, depth);
}

/*
 * Write a call: the required arguments by position, then some of the others by
 * name; or all by position.
 */
static void
put_call(Draw *draw, char kind, Text *to, int depth)
{
	const Function *function;
	bool		named = draw_number(draw, 2) == 0;
	bool		first = true;

	do
		function = &functions[draw_number(draw, function_count)];
	while (function->kind != kind);

	text_put(to, "queue.");
	text_put(to, function->name);
	text_put(to, "(");
	for (int i = 0; i < function->count; i++)
	{
		const Argument *argument = &function->list[i];

		if (i >= function->required && named && draw_number(draw, 3) != 0)
			continue;
		if (!first)
			text_put(to, ", ");
		first = false;
		if (i >= function->required && named)
		{
			text_put(to, argument->name);
			text_put(to, " => ");
		}
		put_argument(draw, function, argument, to, depth);
	}
	text_put(to, ")");
}

static void
put_number(Text *to, long number)
{
	char		digits[32];

	snprintf(digits, sizeof(digits), "%ld", number);
	text_put(to, digits);
}

/* Expand what is written between "<" and ">". */
static void
put_placeholder(Draw *draw, const char *name, Text *to, int depth)
{
	long		low;
	long		high;
	Rule	   *rule = find_variant(draw, name);

	if (rule != NULL)
		put_alternative(draw, rule, to, depth);
	else if (sscanf(name, "int:%ld:%ld", &low, &high) == 2)
		put_number(to, low + (long) draw_number(draw, high - low + 1));
	else if (sscanf(name, "long:%ld", &low) == 1)
		while (low-- > 0)
			text_put(to, "x");
	else if (strcmp(name, "session") == 0)
		put_number(to, draw->session);
	else if (strcmp(name, "step") == 0)
		put_number(to, draw->step);
	else if (strcmp(name, "same") == 0)
		put_number(to, draw->topic);
	else if (strcmp(name, "same_type") == 0)
		put_topic_type(draw, to);
	else if (strcmp(name, "next_bound") == 0)
		put_next_bound(draw, to);
	else if (strcmp(name, "call") == 0)
		put_call(draw, 'f', to, depth);
	else if (strcmp(name, "procedure") == 0)
		put_call(draw, 'p', to, depth);
	else if (strcmp(name, "by_hand") == 0)
		put_call(draw, 't', to, depth);
	else if (strcmp(name, "log") == 0)
		put_relation(draw, true, false, to);
	else if (strcmp(name, "segment") == 0)
		put_relation(draw, false, true, to);
	else if (strcmp(name, "relation") == 0)
		put_relation(draw, draw_number(draw, 2) == 0, true, to);
}

static void
expand_text(Draw *draw, const char *from, Text *to, int depth)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_:-";

	if (depth > MAX_DEPTH)
		return;
	while (*from != '\0')
	{
		size_t		plain = strcspn(from, "<");
		size_t		length;
		char		name[64];

		text_add(to, from, plain);
		from += plain;
		if (*from == '\0')
			break;
		length = strspn(from + 1, letters);
		if (length == 0 || length >= sizeof(name) || from[1 + length] != '>')
		{
			text_add(to, from++, 1);
			continue;
		}
		memcpy(name, from + 1, length);
		name[length] = '\0';
		put_placeholder(draw, name, to, depth);
		from += length + 2;
	}
}

void
expand_rule(Draw *draw, const char *name, Text *to)
{
	Rule	   *rule = find_rule(name);

	if (rule == NULL)
	{
		fprintf(stderr, "fuzz: no rule \"%s\"\n", name);
		exit(2);
	}
	to->length = 0;
	text_add(to, "", 0);
	put_alternative(draw, rule, to, 0);
}
