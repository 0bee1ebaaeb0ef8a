/*-------------------------------------------------------------------------
 *
 * control.c
 *	  The control group: a producer and consumers whose topics no fuzzing
 *	  session has a right to change, and which must not notice the fuzzing.
 *
 * The producer stores, in one transaction, a number in a ledger and a message
 * with that number as its sequence; after a lost connection it sends the same
 * number again.  One consumer reads with consume(), one with poll(), and both
 * store in their transaction what they got.  At the end each message of the
 * ledger was received once by both, in the order of its partition.
 *
 * Every error of theirs is a fault, but a lost connection (the server's crash
 * is a fault already) and 40001 and 40P01, which the manual tells each client
 * to expect.  A control session that gets nothing done for PROGRESS_LIMIT
 * seconds is a fault: the fuzzing sessions hold locks of their own topics only,
 * and no statement of theirs runs longer than a few seconds.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define PROGRESS_LIMIT 120.0	/* seconds */

typedef struct Member
{
	const char *name;
	bool		(*work) (PGconn *conn);
	volatile bool finishing;
	pthread_t	thread;
	double		last_done;
	bool		reported;
} Member;

static bool produce_some(PGconn *conn);
static bool consume_some(PGconn *conn);
static bool poll_some(PGconn *conn);

static Member members[] = {
	{.name = "producer", .work = produce_some},
	{.name = "consumer", .work = consume_some},
	{.name = "member", .work = poll_some},
};
#define MEMBERS ((int) (sizeof(members) / sizeof(members[0])))

/* Execute a statement.  Returns its result, or NULL after an error. */
static PGresult *
execute(PGconn *conn, const char *sql)
{
	PGresult   *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);
	const char *sqlstate;

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return res;
	sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (sqlstate != NULL && strncmp(sqlstate, "57P", 3) != 0 &&
		strcmp(sqlstate, "40001") != 0 && strcmp(sqlstate, "40P01") != 0)
		report_fault("control group", sql, PQresultErrorMessage(res));
	PQclear(res);
	if (PQtransactionStatus(conn) == PQTRANS_INERROR)
		PQclear(PQexec(conn, "ROLLBACK"));
	return NULL;
}

/* Returns the first column of the first row, or -1 after an error. */
static long
execute_number(PGconn *conn, const char *sql)
{
	PGresult   *res = execute(conn, sql);
	long		number = -1;

	if (res == NULL)
		return -1;
	if (PQntuples(res) > 0)
		number = atol(PQgetvalue(res, 0, 0));
	PQclear(res);
	return number;
}

/* Execute statements until one of them fails.  The last one is NULL. */
static bool
execute_all(PGconn *conn, const char *const *list)
{
	for (; *list != NULL; list++)
	{
		PGresult   *res = execute(conn, *list);

		if (res == NULL)
			return false;
		PQclear(res);
	}
	return true;
}

/*
 * The numbers from the ledger's next one on, as a batch for each topic.  Keys
 * spread them over the partitions; strict sequences have no holes.
 */
static bool
produce_some(PGconn *conn)
{
	static const char *const list[] = {
		"BEGIN",
		"INSERT INTO control.sent SELECT coalesce((SELECT max(n) FROM control.sent), 0) + i FROM generate_series(1, 20) i",
		"SELECT queue.produce_batch('control', array_agg(n::text ORDER BY n), array_agg('key' || n % 7 ORDER BY n), producer_id => 'control', first_sequence => min(n)) FROM (SELECT n FROM control.sent ORDER BY n DESC LIMIT 20) s",
		"SELECT queue.produce('control_single', n, key => 'key' || n % 3, producer_id => 'control', sequence => n) FROM (SELECT n FROM control.sent ORDER BY n DESC LIMIT 20) s ORDER BY n",
		"COMMIT",
		NULL
	};

	usleep(50000);
	return execute_all(conn, list);
}

static bool
consume_some(PGconn *conn)
{
	static const char *const list[] = {
		"BEGIN",
		"INSERT INTO control.consumed SELECT m.partition, m.\"offset\", m.value::bigint FROM queue.consume_typed('control', 'control', NULL::text, 50) m",
		"COMMIT",
		NULL
	};

	usleep(50000);
	return execute_all(conn, list);
}

/* Each call's messages are stored together with the offset that follows them. */
static bool
poll_some(PGconn *conn)
{
	static const char *const list[] = {
		"DELETE FROM control.got",
		"INSERT INTO control.got SELECT m.partition, m.\"offset\", m.value, m.epoch FROM queue.poll_typed('control', 'control_single', 'control', NULL::bigint, 50, '1 hour') m",
		"BEGIN",
		"SELECT queue.commit_offset('control', 'control_single', partition, max(\"offset\") + 1, 'control', max(epoch)) FROM control.got GROUP BY partition",
		"INSERT INTO control.polled SELECT partition, \"offset\", n FROM control.got",
		"COMMIT",
		NULL
	};

	usleep(50000);
	return execute_all(conn, list);
}

static void
ignore_notice(void *arg, const char *message)
{
}

static PGconn *
connect_control(const char *name)
{
	const char *keys[] = {"user", "application_name", "dbname", NULL};
	const char *values[] = {"control_owner", name, "postgres", NULL};
	PGconn	   *conn = PQconnectdbParams(keys, values, 0);

	if (PQstatus(conn) == CONNECTION_OK)
	{
		PQsetNoticeProcessor(conn, ignore_notice, NULL);
		return conn;
	}
	PQfinish(conn);
	usleep(200000);
	return NULL;
}

static void *
member_main(void *arg)
{
	Member	   *member = arg;
	char		name[64];
	PGconn	   *conn = NULL;

	snprintf(name, sizeof(name), "control %s", member->name);
	while (!member->finishing)
	{
		if (conn != NULL && PQstatus(conn) == CONNECTION_BAD)
		{
			PQfinish(conn);
			conn = NULL;
		}
		if (conn == NULL)
			conn = connect_control(name);
		if (conn != NULL && member->work(conn))
			member->last_done = now();
	}
	if (conn != NULL)
		PQfinish(conn);
	return NULL;
}

void
start_control(void)
{
	for (int i = 0; i < MEMBERS; i++)
	{
		members[i].last_done = now();
		pthread_create(&members[i].thread, NULL, member_main, &members[i]);
	}
}

/* Report a control session that gets nothing done. */
void
watch_control(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (!members[i].reported &&
			now() - members[i].last_done > PROGRESS_LIMIT)
		{
			members[i].reported = true;
			report_fault("control group", members[i].name, "no progress");
			print_waits();
		}
}

/* End a session after its current round.  Returns false if it does not end. */
static bool
finish_member(Member *member)
{
	struct timespec limit;

	member->finishing = true;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += (time_t) PROGRESS_LIMIT;
	if (pthread_timedjoin_np(member->thread, NULL, &limit) == 0)
		return true;
	report_fault("control group", member->name, "does not end");
	print_waits();
	return false;
}

static void
check_none(PGconn *conn, const char *what, const char *sql)
{
	long		wrong = execute_number(conn, sql);

	if (wrong != 0)
		report_fault("control group", sql, what);
}

static void
check_ledger(PGconn *conn, const char *topic, const char *ledger)
{
	char		sql[1024];

	snprintf(sql, sizeof(sql),
			 "SELECT count(*) FROM control.sent s FULL JOIN (SELECT n, count(*) FROM control.%s GROUP BY n) c USING (n)"
			 " WHERE s.n IS NULL OR c.count IS DISTINCT FROM 1", ledger);
	check_none(conn, "messages are lost or doubled", sql);
	snprintf(sql, sizeof(sql),
			 "SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY partition ORDER BY \"offset\") AS before FROM control.%s) o"
			 " WHERE n <= before", ledger);
	check_none(conn, "messages are out of order", sql);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM queue.verify('%s')",
			 topic);
	check_none(conn, "the topic has problems", sql);
}

/*
 * After the fuzzing: let the consumers reach the end, then compare.  The
 * producer has stopped first.
 */
void
finish_control(void)
{
	PGconn	   *conn = NULL;
	double		since = now();

	if (!finish_member(&members[0]))
		return;
	while (conn == NULL && now() - since < PROGRESS_LIMIT)
		conn = connect_control("control check");
	if (conn == NULL)
	{
		report_fault("control group", "", "cannot connect at the end");
		return;
	}
	while (now() - since < PROGRESS_LIMIT &&
		   execute_number(conn,
						  "SELECT 2 * (SELECT count(*) FROM control.sent) - (SELECT count(*) FROM control.consumed)"
						  " - (SELECT count(*) FROM control.polled)") != 0)
		usleep(300000);
	for (int i = 1; i < MEMBERS; i++)
		if (!finish_member(&members[i]))
			return;
	check_ledger(conn, "control", "consumed");
	check_ledger(conn, "control_single", "polled");
	printf("control group: %ld messages\n",
		   execute_number(conn, "SELECT count(*) FROM control.sent"));
	PQfinish(conn);
}
