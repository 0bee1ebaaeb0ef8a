/*-------------------------------------------------------------------------
 *
 * must.h
 *	  What the clients have in common: calls that succeed or end the program,
 *	  and the clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MUST_H
#define MUST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

/* On every client's clock, seconds. */
static inline double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void
die(const char *what, PGconn *conn)
{
	fprintf(stderr, "client: %s: %s\n", what, conn ? PQerrorMessage(conn) : "");
	exit(1);
}

static inline void *
must_alloc(void *old, size_t size)
{
	void	   *p = realloc(old, size);

	if (p == NULL)
		die("out of memory", NULL);
	return p;
}

/* Connection parameters come from the PG* environment variables. */
static inline PGconn *
must_connect(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("connect", conn);
	return conn;
}

static inline PGresult *
must_succeed(PGconn *conn, PGresult *res, const char *what)
{
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		die(what, conn);
	return res;
}

/* Returns the number of rows. */
static inline int
must_exec(PGconn *conn, const char *sql)
{
	PGresult   *res = must_succeed(conn, PQexec(conn, sql), sql);
	int			rows = PQntuples(res);

	PQclear(res);
	return rows;
}

static inline void
must_prepare(PGconn *conn, const char *name, const char *sql)
{
	PQclear(must_succeed(conn, PQprepare(conn, name, sql, 0, NULL), sql));
}

/* The statement with every "{client}" replaced by the client's number. */
static inline char *
statement_for(const char *from, int number)
{
	static const char mark[] = "{client}";
	const char *hit;
	char	   *sql = must_alloc(NULL, 2 * strlen(from) + 16);
	char	   *to = sql;

	while ((hit = strstr(from, mark)) != NULL)
	{
		to += sprintf(to, "%.*s%d", (int) (hit - from), from, number);
		from = hit + strlen(mark);
	}
	strcpy(to, from);
	return sql;
}

static inline int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

#endif							/* MUST_H */
