/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  Several sessions with different roles send random statements.
 *
 *	  fuzz GRAMMAR FOLDER
 *
 * FUZZ_SECONDS, FUZZ_SEED and FUZZ_SESSIONS come from the environment.  What
 * each session sends is written to FOLDER/session-N.sql before it is sent.
 *
 * A fault is: an internal error (XX000, XX001, XX002), text that is not valid
 * in the encoding or holds control characters, an integer that no statement
 * stored, a statement that no cancellation ends, a session that cannot connect
 * any more, and what the control group sees (control.c).  Crashes are found in
 * the server's log by run.sh.  The exit status is 1 if there were faults.
 *
 * Each session is a thread.  The main thread cancels statements that take too
 * long, reads the catalog for the names of tables, gives the roles back the rights
 * that DROP OWNED takes from them, and creates dropped topics again.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INT4_OID 23
#define INT8_OID 20
#define TEXT_OID 25

#define CANCEL_AFTER 15.0		/* seconds of one statement */
#define STUCK_AFTER 180.0		/* seconds after the first cancellation */
#define GONE_AFTER 180.0		/* seconds without a connection */
#define RECONNECT_AFTER 150		/* statements */
#define LOG_SIZE (50L << 20)	/* bytes of a session's file */
#define MAX_FAULTS 200
#define MAX_CODES 300

typedef struct Persona
{
	const char *role;
	const char *other_name;		/* what the role may have been renamed to */
	const char *rule;			/* the grammar's rule for its statements */
	int			owner;			/* bit in Relation.owners */
	const char *topics;			/* numbers of those it prefers */
} Persona;

static const Persona personae[] = {
	{"fuzz_super", NULL, "super", 0, "012345"},
	{"fuzz_owner1", NULL, "owner", 1, "000111245"},
	{"fuzz_owner2", "fuzz_renamed", "owner", 2, "222333045"},
	{"fuzz_writer", NULL, "user", 0, "012345"},
	{"fuzz_member", NULL, "owner", 4, "001124445"},
	{"fuzz_reader", NULL, "user", 0, "012345"},
	{"fuzz_owner1", NULL, "owner", 1, "000111345"},
	{"fuzz_nobody", NULL, "user", 0, "012345"},
};
#define PERSONAE ((int) (sizeof(personae) / sizeof(personae[0])))

typedef struct Session
{
	int			number;
	const Persona *persona;
	pthread_t	thread;
	PGconn	   *conn;
	PGcancel   *cancel;			/* under the lock, as the next two */
	double		busy_since;		/* 0 while no statement runs */
	double		cancelled_at;	/* first cancellation of the statement, or 0 */
	pthread_mutex_t lock;
	char		statement[200];	/* the start of what runs */
	long		step;
	int			left;			/* statements up to the end of the transaction */
	bool		guarded;		/* a savepoint around each of them */
	FILE	   *log;
	const char *folder;
} Session;

typedef struct Fault
{
	char	   *key;
	long		times;
} Fault;

typedef struct Code
{
	char		sqlstate[6];
	long		times;
} Code;

volatile bool stopping;

static uint64_t seed;
static Fault faults[MAX_FAULTS];
static int	fault_count;
static Code codes[MAX_CODES];
static int	code_count;
static long statement_count;
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

/* ----------
 * Memory, the clock, faults
 * ----------
 */

void *
must_alloc(void *old, size_t size)
{
	void	   *p = realloc(old, size);

	if (p == NULL)
	{
		fprintf(stderr, "fuzz: out of memory\n");
		exit(2);
	}
	return p;
}

char *
must_copy(const char *from)
{
	return strcpy(must_alloc(NULL, strlen(from) + 1), from);
}

double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void
pause_seconds(double seconds)
{
	struct timespec ts;

	ts.tv_sec = (time_t) seconds;
	ts.tv_nsec = (long) ((seconds - (double) ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

/* Reduce a message to what is the same each time: no numbers, no names. */
static char *
fault_key(const char *kind, const char *detail)
{
	Text		key = {0};
	bool		quoted = false;

	text_add(&key, kind, strlen(kind));
	text_add(&key, " ", 1);
	for (const char *p = detail; *p != '\0' && *p != '\n'; p++)
	{
		if (*p == '"')
			quoted = !quoted;
		if (!isdigit((unsigned char) *p) && (!quoted || *p == '"'))
			text_add(&key, p, 1);
	}
	return key.data;
}

/* Print the first fault of each kind with its statement, count the others. */
void
report_fault(const char *kind, const char *statement, const char *detail)
{
	char	   *key = fault_key(kind, detail);
	int			i;

	pthread_mutex_lock(&report_lock);
	for (i = 0; i < fault_count && strcmp(faults[i].key, key) != 0; i++)
		;
	if (i < fault_count)
	{
		faults[i].times++;
		free(key);
	}
	else if (fault_count < MAX_FAULTS)
	{
		faults[fault_count].key = key;
		faults[fault_count++].times = 1;
		printf("FAULT %s: %s\n    %.2000s\n", kind, detail, statement);
		fflush(stdout);
	}
	pthread_mutex_unlock(&report_lock);
}

static void
ignore_notice(void *arg, const char *message)
{
}

static PGconn *
connect_as(const char *role, const char *name)
{
	const char *keys[] = {"user", "application_name", "dbname", NULL};
	const char *values[] = {role, name, "postgres", NULL};
	PGconn	   *conn = PQconnectdbParams(keys, values, 0);

	if (PQstatus(conn) == CONNECTION_OK)
	{
		PQsetNoticeProcessor(conn, ignore_notice, NULL);
		PQsetErrorVerbosity(conn, PQERRORS_TERSE);
		return conn;
	}
	PQfinish(conn);
	return NULL;
}

/* Print which backends wait, for what, and for which others. */
void
print_waits(void)
{
	static const char query[] =
		"SELECT a.pid, a.application_name, a.state, a.wait_event_type, a.wait_event,"
		"       pg_blocking_pids(a.pid), l.locktype, l.classid, l.objid, l.objsubid,"
		"       l.relation::regclass, l.mode, left(a.query, 100)"
		"  FROM pg_stat_activity a"
		"  LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted"
		" WHERE a.datname IS NOT NULL AND a.pid <> pg_backend_pid()"
		" UNION ALL "
		"SELECT l.pid, 'holds', p.gid, NULL, NULL, NULL, l.locktype, l.classid,"
		"       l.objid, l.objsubid, l.relation::regclass, l.mode, NULL"
		"  FROM pg_locks l"
		"  LEFT JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction"
		" WHERE l.granted AND EXISTS (SELECT FROM pg_locks w WHERE NOT w.granted"
		"   AND (w.locktype, w.relation, w.classid, w.objid, w.objsubid, w.transactionid)"
		"   IS NOT DISTINCT FROM (l.locktype, l.relation, l.classid, l.objid, l.objsubid, l.transactionid))";
	PGconn	   *conn = connect_as("postgres", "control waits");
	PGresult   *res;

	if (conn == NULL)
		return;
	res = PQexec(conn, query);
	for (int row = 0; row < PQntuples(res); row++)
	{
		printf("   ");
		for (int column = 0; column < PQnfields(res); column++)
			printf(" %s", PQgetisnull(res, row, column) ? "-" :
				   PQgetvalue(res, row, column));
		printf("\n");
	}
	fflush(stdout);
	PQclear(res);
	PQfinish(conn);
}

static void
count_code(const char *sqlstate)
{
	int			i;

	pthread_mutex_lock(&report_lock);
	statement_count++;
	for (i = 0; i < code_count && strcmp(codes[i].sqlstate, sqlstate) != 0; i++)
		;
	if (i == code_count && code_count < MAX_CODES)
		snprintf(codes[code_count++].sqlstate, sizeof(codes[0].sqlstate),
				 "%s", sqlstate);
	if (i < code_count)
		codes[i].times++;
	pthread_mutex_unlock(&report_lock);
}

/* ----------
 * Results
 * ----------
 */

/* Return true if the bytes are UTF-8 without control characters. */
static bool
is_clean_text(const unsigned char *p, size_t length)
{
	const unsigned char *end = p + length;

	while (p < end)
	{
		int			more = *p < 0x80 ? 0 : *p < 0xC2 ? -1 : *p < 0xE0 ? 1 :
			*p < 0xF0 ? 2 : *p < 0xF5 ? 3 : -1;

		if (more < 0 || end - p <= more ||
			*p == 0x7F || (*p < 0x20 && *p != '\n' && *p != '\t' && *p != '\r'))
			return false;
		for (int i = 1; i <= more; i++)
			if ((p[i] & 0xC0) != 0x80)
				return false;
		p += 1 + more;
	}
	return true;
}

/* The grammar stores integers of these ranges only. */
static bool
is_stored_integer(int64_t value)
{
	return (value >= -1000000 && value <= 1000000) ||
		value == INT64_MIN || value == INT64_MAX ||
		value == INT32_MIN || value == INT32_MAX;
}

static int64_t
integer_of(const PGresult *res, int row, int column)
{
	const unsigned char *p =
		(const unsigned char *) PQgetvalue(res, row, column);
	int			length = PQgetlength(res, row, column);
	uint64_t	value = 0;

	if (PQfformat(res, column) == 0)
		return strtoll((const char *) p, NULL, 10);
	for (int i = 0; i < length; i++)
		value = value << 8 | p[i];
	return length == 4 ? (int32_t) value : (int64_t) value;
}

static void
check_result(const PGresult *res, const char *statement)
{
	for (int column = 0; column < PQnfields(res); column++)
	{
		Oid			type = PQftype(res, column);
		bool		text = PQfformat(res, column) == 0 || type == TEXT_OID;
		bool		integer = (type == INT8_OID || type == INT4_OID) &&
			strcmp(PQfname(res, column), "value") == 0;

		for (int row = 0; row < PQntuples(res); row++)
		{
			if (PQgetisnull(res, row, column))
				continue;
			if (text &&
				!is_clean_text((unsigned char *) PQgetvalue(res, row, column),
							   PQgetlength(res, row, column)))
				report_fault("foreign memory", statement, "text");
			if (integer && !is_stored_integer(integer_of(res, row, column)))
				report_fault("foreign memory", statement, "integer");
		}
	}
}

static bool
has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/*
 * Return true if PostgreSQL itself raises this internal error, whatever tables
 * and functions there are: two sessions change one row of the catalog at a
 * time, or one drops what another one is about to use.  What a function of the
 * extension does is not excused.
 */
static bool
is_excused(const PGresult *res, const char *statement)
{
	static const char *const commands[] = {
		"ALTER ", "GRANT ", "REVOKE ", "CREATE ", "DROP ", "COMMENT ",
		"REASSIGN ", "ANALYZE ", "VACUUM ", "REINDEX ", "SECURITY ", "CLUSTER "
	};
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

	if (message == NULL || context != NULL ||
		(!has_prefix(message, "tuple concurrently ") &&
		 !has_prefix(message, "cache lookup failed ") &&
		 !has_prefix(message, "could not open relation with OID ") &&
		 !has_prefix(message, "could not find tuple for ")))
		return false;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (has_prefix(statement, commands[i]))
			return true;
	return false;
}

static const char *
check_error(Session *session, const PGresult *res, const char *statement)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (sqlstate == NULL)
		return "lost";
	if (has_prefix(sqlstate, "XX") && !is_excused(res, statement))
	{
		Text		detail = {0};
		const char *part;
		static const int fields[] = {
			PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_SOURCE_FILE,
			PG_DIAG_SOURCE_FUNCTION, PG_DIAG_CONTEXT
		};

		for (int i = 0; i < 4; i++)
			if ((part = PQresultErrorField(res, fields[i])) != NULL)
			{
				text_add(&detail, " ", i > 0);
				text_add(&detail, part, strlen(part));
			}
		fprintf(session->log, "-- FAULT %s\n", detail.data);
		report_fault(sqlstate, statement, detail.data);
		free(detail.data);
	}
	return sqlstate;
}

/* ----------
 * One statement
 * ----------
 */

static void
send_copy_data(Session *session, Draw *draw)
{
	Text		line = {0};
	int			lines = (int) draw_number(draw, 12);
	bool		give_up = draw_number(draw, 8) == 0;

	while (lines-- > 0)
	{
		expand_rule(draw, "copydata", &line);
		text_add(&line, "\n", 1);
		PQputCopyData(session->conn, line.data, (int) line.length);
	}
	PQputCopyEnd(session->conn, give_up ? "given up" : NULL);
	free(line.data);
}

static void
receive_copy_data(Session *session, const char *statement)
{
	char	   *line;
	int			length;

	while ((length = PQgetCopyData(session->conn, &line, 0)) > 0)
	{
		if (strstr(statement, "BINARY") == NULL &&
			!is_clean_text((unsigned char *) line, length))
			report_fault("foreign memory", statement, "copied text");
		PQfreemem(line);
	}
}

static void
set_busy(Session *session, const char *statement)
{
	pthread_mutex_lock(&session->lock);
	session->busy_since = statement == NULL ? 0 : now();
	session->cancelled_at = 0;
	snprintf(session->statement, sizeof(session->statement), "%s",
			 statement == NULL ? "" : statement);
	pthread_mutex_unlock(&session->lock);
}

/* Take all results of what was sent.  Returns the last error, or "ok". */
static const char *
take_results(Session *session, Draw *draw, const char *statement, char *code)
{
	PGresult   *res;

	strcpy(code, "ok");
	while ((res = PQgetResult(session->conn)) != NULL)
	{
		switch (PQresultStatus(res))
		{
			case PGRES_TUPLES_OK:
				check_result(res, statement);
				break;
			case PGRES_COPY_IN:
				send_copy_data(session, draw);
				break;
			case PGRES_COPY_OUT:
				receive_copy_data(session, statement);
				break;
			case PGRES_COPY_BOTH:
			case PGRES_FATAL_ERROR:
			case PGRES_BAD_RESPONSE:
				snprintf(code, 6, "%s", check_error(session, res, statement));
				break;
			default:
				break;
		}
		PQclear(res);
		if (PQstatus(session->conn) == CONNECTION_BAD)
			break;
	}
	return code;
}

static const char *
run_statement(Session *session, Draw *draw, const char *statement,
			  char *code)
{
	bool		binary = draw_number(draw, 4) == 0 &&
		strstr(statement, "; ") == NULL;	/* one statement only */
	int			sent;

	fprintf(session->log, "%s;\n", statement);
	fflush(session->log);
	set_busy(session, statement);
	if (binary)
		sent = PQsendQueryParams(session->conn, statement, 0, NULL, NULL, NULL,
								 NULL, 1);
	else
		sent = PQsendQuery(session->conn, statement);
	if (sent)
		take_results(session, draw, statement, code);
	else
		strcpy(code, "lost");
	set_busy(session, NULL);
	fprintf(session->log, "-- %ld %s%s%s\n", draw->step, code,
			strcmp(code, "ok") == 0 ? "" : " ",
			strcmp(code, "ok") == 0 ? "" : PQerrorMessage(session->conn));
	count_code(code);
	return code;
}

/* ----------
 * A session
 * ----------
 */

static void
set_connection(Session *session, PGconn *conn)
{
	pthread_mutex_lock(&session->lock);
	if (session->cancel != NULL)
		PQfreeCancel(session->cancel);
	session->cancel = conn == NULL ? NULL : PQgetCancel(conn);
	if (session->conn != NULL)
		PQfinish(session->conn);
	session->conn = conn;
	pthread_mutex_unlock(&session->lock);
}

/* Returns false when the fuzzer stops before there is a connection. */
static bool
ensure_connection(Session *session)
{
	const Persona *persona = session->persona;
	double		since = now();
	char		name[32];
	PGconn	   *conn = NULL;

	if (session->conn != NULL && PQstatus(session->conn) == CONNECTION_OK)
		return true;
	set_connection(session, NULL);
	snprintf(name, sizeof(name), "fuzz %d", session->number);
	while (!stopping)
	{
		conn = connect_as(persona->role, name);
		if (conn == NULL && persona->other_name != NULL)
			conn = connect_as(persona->other_name, name);
		if (conn != NULL)
			break;
		if (now() - since > GONE_AFTER)
		{
			report_fault("no connection", persona->role, "for too long");
			stopping = true;
		}
		pause_seconds(0.2);
	}
	set_connection(session, conn);
	return conn != NULL;
}

static void
open_log(Session *session)
{
	char		path[1024];
	char		old[1040];

	snprintf(path, sizeof(path), "%s/session-%d.sql", session->folder,
			 session->number);
	snprintf(old, sizeof(old), "%s.old", path);
	if (session->log != NULL)
	{
		fclose(session->log);
		rename(path, old);
	}
	session->log = fopen(path, "w");
	if (session->log == NULL)
	{
		perror(path);
		exit(2);
	}
	fprintf(session->log, "-- seed %llu, session %d as %s\n",
			(unsigned long long) seed, session->number,
			session->persona->role);
}

/*
 * Choose the rule of the next statement.  Transactions have a length that is
 * decided at their beginning, whatever becomes of their statements.
 */
static const char *
next_rule(Session *session, Draw *draw)
{
	if (session->left == 0)
	{
		if (draw_number(draw, 4) != 0)
			return session->persona->rule;
		session->left = 2 + (int) draw_number(draw, 7);
		session->guarded = draw_number(draw, 6) != 0;
		return "begin";
	}
	if (--session->left == 0)
		return "end";
	return draw_number(draw, 8) == 0 ? "savepoint" : session->persona->rule;
}

/* Send a statement; in a guarded transaction, undo it if it fails. */
static void
run_step(Session *session, Draw *draw, Text *statement)
{
	bool		guarded;
	char		code[8];

	expand_rule(draw, next_rule(session, draw), statement);
	guarded = session->guarded && session->left > 0 &&
		PQtransactionStatus(session->conn) == PQTRANS_INTRANS;
	if (guarded)
		run_statement(session, draw, "SAVEPOINT guard", code);
	run_statement(session, draw, statement->data, code);
	if (guarded && PQtransactionStatus(session->conn) == PQTRANS_INERROR)
		run_statement(session, draw, "ROLLBACK TO guard", code);
}

static void *
session_main(void *arg)
{
	Session    *session = arg;
	Text		statement = {0};

	while (!stopping && ensure_connection(session))
	{
		Draw		draw;

		/* a new connection forgets the settings */
		if (session->step % RECONNECT_AFTER == 0)
		{
			set_connection(session, NULL);
			if (!ensure_connection(session))
				break;
		}
		if (session->log == NULL || ftell(session->log) > LOG_SIZE)
			open_log(session);
		draw.persona = session->persona->rule;
		draw.session = session->number;
		draw.step = ++session->step;
		draw.random = seed * 1000003 + (uint64_t) session->number;
		draw.random = draw_number(&draw, 0) + (uint64_t) draw.step;
		draw.owner = session->persona->owner;
		draw.topic = session->persona->topics
			[draw_number(&draw, strlen(session->persona->topics))] - '0';
		run_step(session, &draw, &statement);
	}
	set_connection(session, NULL);
	free(statement.data);
	return NULL;
}

/* ----------
 * The main thread
 * ----------
 */

static void
watch_session(Session *session)
{
	char		answer[256];

	pthread_mutex_lock(&session->lock);
	if (session->busy_since > 0 && session->cancel != NULL &&
		now() - session->busy_since > CANCEL_AFTER)
	{
		PQcancel(session->cancel, answer, sizeof(answer));
		if (session->cancelled_at == 0)
			session->cancelled_at = now();
		else if (now() - session->cancelled_at > STUCK_AFTER)
		{
			report_fault("stuck", session->statement, "cancelled in vain");
			print_waits();
			stopping = true;
		}
	}
	pthread_mutex_unlock(&session->lock);
}

static int
compare_codes(const void *a, const void *b)
{
	return strcmp(((const Code *) a)->sqlstate, ((const Code *) b)->sqlstate);
}

static void
print_summary(void)
{
	qsort(codes, code_count, sizeof(Code), compare_codes);
	printf("%ld statements:", statement_count);
	for (int i = 0; i < code_count; i++)
		printf(" %s %ld", codes[i].sqlstate, codes[i].times);
	printf("\n");
	for (int i = 0; i < fault_count; i++)
		printf("%ld times: %s\n", faults[i].times, faults[i].key);
	printf("seed %llu: %d kinds of faults\n", (unsigned long long) seed,
		   fault_count);
	fflush(stdout);
}

static long
environment(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? atol(value) : otherwise;
}

static void
watch_until(Session *sessions, int count, double end)
{
	PGconn	   *conn = NULL;
	double		stopped = 0;

	while (stopped == 0 || now() - stopped < CANCEL_AFTER + STUCK_AFTER)
	{
		bool		running = false;

		if (conn == NULL || PQstatus(conn) != CONNECTION_OK)
		{
			if (conn != NULL)
				PQfinish(conn);
			conn = connect_as("postgres", "control catalog");
			if (conn != NULL)
				PQclear(PQexec(conn, "SET statement_timeout = '2s'"));
		}
		if (conn != NULL)
		{
			PQclear(PQexec(conn, "SELECT fuzz.restore_rights()"));
			PQclear(PQexec(conn, "SELECT fuzz.restore_topics()"));
			read_relations(conn);
		}
		for (int i = 0; i < count; i++)
		{
			watch_session(&sessions[i]);
			pthread_mutex_lock(&sessions[i].lock);
			running = running || sessions[i].conn != NULL;
			pthread_mutex_unlock(&sessions[i].lock);
		}
		watch_control();
		if (now() > end)
			stopping = true;
		if (stopping && stopped == 0)
			stopped = now();
		if (stopping && !running)
			break;
		pause_seconds(0.3);
	}
	if (conn != NULL)
		PQfinish(conn);
}

int
main(int argc, char **argv)
{
	double		end = now() + environment("FUZZ_SECONDS", 60);
	int			count = (int) environment("FUZZ_SESSIONS", PERSONAE);
	Session    *sessions;
	PGconn	   *conn;

	prctl(PR_SET_PDEATHSIG, SIGTERM);	/* do not outlive the script */
	seed = (uint64_t) environment("FUZZ_SEED", (long) (time(NULL) % 1000000));
	if (argc != 3)
	{
		fprintf(stderr, "usage: fuzz GRAMMAR FOLDER\n");
		return 2;
	}
	printf("seed %llu, %d sessions\n", (unsigned long long) seed, count);
	fflush(stdout);
	read_grammar(argv[1]);
	conn = connect_as("postgres", "control catalog");
	if (conn == NULL)
	{
		fprintf(stderr, "fuzz: cannot connect\n");
		return 2;
	}
	read_signatures(conn);
	read_relations(conn);
	PQfinish(conn);
	start_control();
	sessions = calloc(count, sizeof(Session));
	for (int i = 0; i < count; i++)
	{
		sessions[i].number = i;
		sessions[i].persona = &personae[i % PERSONAE];
		sessions[i].folder = argv[2];
		pthread_mutex_init(&sessions[i].lock, NULL);
		pthread_create(&sessions[i].thread, NULL, session_main, &sessions[i]);
	}
	watch_until(sessions, count, end);
	finish_control();
	print_summary();
	return fault_count > 0;
}
