/*-------------------------------------------------------------------------
 *
 * client.c
 *	  Call one prepared statement over and over and say how fast that went.
 *
 * pgbench can neither send arrays nor stop when a statement has nothing more
 * to return; this client can.  Each client is a thread with a connection of
 * its own, every call is one transaction, and the clock runs from the moment
 * all clients are connected and prepared until the last one is through.
 *
 * Memory: results live for one call, the array parameters for the whole run.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "must.h"

#define MAX_PARAMS 8
#define MAX_CLIENTS 256
#define TEXT_OID 25
#define TEXT_ARRAY_OID 1009
#define INT8_OID 20

typedef struct Options
{
	int			clients;		/* threads, one connection each */
	long		calls;			/* calls of each client; 0 = no limit */
	double		seconds;		/* length of the run; 0 = no limit */
	bool		until_empty;	/* stop at the first call without a row */
	bool		paging;			/* $1 = first column of the last row seen */
	bool		call_only;		/* BEGIN and COMMIT around the call, untimed */
	bool		binary;			/* binary arrays and results */
	const char *arrays;			/* query whose columns become text[] params */
	const char *follow_up;		/* statement after each call that gave rows */
	const char *statement;
} Options;

typedef struct Params
{
	int			count;
	char	   *value[MAX_PARAMS];
	int			length[MAX_PARAMS];
	int			format[MAX_PARAMS];
	Oid			type[MAX_PARAMS];
} Params;

typedef struct Client
{
	int			number;
	PGconn	   *conn;
	long		calls;
	long		rows;
	double		spent;			/* seconds inside timed calls */
	double	   *latency;		/* seconds of each call, in order */
	size_t		latency_room;
	double		finished;		/* clock when the last call was over */
} Client;

static Options opt = {.clients = 1};
static Params arrays;
static pthread_barrier_t start_line;
static double started;

/* ----------
 * Array parameters
 * ----------
 */

static char *
put_int32(char *p, int32_t v)
{
	uint32_t	net = htonl((uint32_t) v);

	memcpy(p, &net, sizeof(net));
	return p + sizeof(net);
}

/* array_recv's form: dimensions, null flag, type, length, lower bound, items */
static char *
binary_array(PGresult *res, int col, int *length)
{
	int			n = PQntuples(res);
	size_t		size = 5 * sizeof(int32_t);
	char	   *buf;
	char	   *p;

	for (int i = 0; i < n; i++)
		size += sizeof(int32_t) + PQgetlength(res, i, col);
	p = buf = must_alloc(NULL, size);
	p = put_int32(p, 1);
	p = put_int32(p, 0);
	p = put_int32(p, TEXT_OID);
	p = put_int32(p, n);
	p = put_int32(p, 1);
	for (int i = 0; i < n; i++)
	{
		p = put_int32(p, PQgetlength(res, i, col));
		memcpy(p, PQgetvalue(res, i, col), PQgetlength(res, i, col));
		p += PQgetlength(res, i, col);
	}
	*length = (int) size;
	return buf;
}

/* array_in's form, every item quoted */
static char *
text_array(PGresult *res, int col, int *length)
{
	int			n = PQntuples(res);
	size_t		size = 3;
	char	   *buf;
	char	   *p;

	for (int i = 0; i < n; i++)
		size += 3 + 2 * PQgetlength(res, i, col);
	p = buf = must_alloc(NULL, size);
	*p++ = '{';
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			*p++ = ',';
		*p++ = '"';
		for (const char *s = PQgetvalue(res, i, col); *s; s++)
		{
			if (*s == '"' || *s == '\\')
				*p++ = '\\';
			*p++ = *s;
		}
		*p++ = '"';
	}
	*p++ = '}';
	*p = '\0';
	*length = (int) (p - buf);
	return buf;
}

static void
read_arrays(void)
{
	PGconn	   *conn = must_connect();
	PGresult   *res = must_succeed(conn, PQexec(conn, opt.arrays), opt.arrays);

	arrays.count = PQnfields(res);
	if (arrays.count > MAX_PARAMS)
		die("too many array columns", NULL);
	for (int col = 0; col < arrays.count; col++)
	{
		arrays.value[col] = opt.binary
			? binary_array(res, col, &arrays.length[col])
			: text_array(res, col, &arrays.length[col]);
		arrays.format[col] = opt.binary;
		arrays.type[col] = TEXT_ARRAY_OID;
	}
	PQclear(res);
	PQfinish(conn);
}

/* ----------
 * One client
 * ----------
 */

static void
prepare(Client *c, const Params *params)
{
	char	   *sql = statement_for(opt.statement, c->number);

	PQclear(must_succeed(c->conn,
						 PQprepare(c->conn, "s", sql, params->count, params->type),
						 sql));
	free(sql);
	if (opt.follow_up != NULL)
		must_prepare(c->conn, "f", opt.follow_up);
}

/*
 * The statement that follows a call which has returned rows: $1 and $2 are the
 * first two columns of the last one.  A transaction of its own.
 */
static void
follow_up(Client *c, const PGresult *res)
{
	int			last = PQntuples(res) - 1;
	const char *values[] = {PQgetvalue(res, last, 0), PQgetvalue(res, last, 1)};

	PQclear(must_succeed(c->conn,
						 PQexecPrepared(c->conn, "f", 2, values, NULL, NULL, 0),
						 opt.follow_up));
}

static void
note_latency(Client *c, double seconds)
{
	if ((size_t) c->calls >= c->latency_room)
	{
		c->latency_room = c->latency_room ? 2 * c->latency_room : 1024;
		c->latency = must_alloc(c->latency, c->latency_room * sizeof(double));
	}
	c->latency[c->calls++] = seconds;
	c->spent += seconds;
}

/*
 * One call; returns its number of rows.  Fills "position" with the first
 * column of the last row when paging.
 */
static long
call(Client *c, const Params *params, char *position, size_t position_size)
{
	PGresult   *res;
	double		begun;
	long		rows;

	if (opt.call_only)
		must_exec(c->conn, "BEGIN");
	begun = now();
	res = PQexecPrepared(c->conn, "s", params->count,
						 (const char *const *) params->value,
						 params->length, params->format,
						 opt.binary && !opt.paging && opt.follow_up == NULL);
	must_succeed(c->conn, res, opt.statement);
	note_latency(c, now() - begun);
	if (opt.call_only)
		must_exec(c->conn, "COMMIT");

	rows = PQntuples(res);
	if (opt.paging && rows > 0)
		snprintf(position, position_size, "%s", PQgetvalue(res, rows - 1, 0));
	if (opt.follow_up != NULL && rows > 0)
		follow_up(c, res);
	PQclear(res);
	return rows;
}

static bool
finished(const Client *c, long rows)
{
	return (opt.calls > 0 && c->calls >= opt.calls) ||
		(opt.seconds > 0 && now() - started >= opt.seconds) ||
		(opt.until_empty && rows == 0);
}

static void *
run_client(void *arg)
{
	Client	   *c = arg;
	Params		params = arrays;
	char		position[32] = "-1";
	long		rows;

	if (opt.paging)
	{
		params.count = 1;
		params.value[0] = position;
		params.format[0] = 0;
		params.type[0] = INT8_OID;
	}
	c->conn = must_connect();
	prepare(c, &params);

	if (pthread_barrier_wait(&start_line) == PTHREAD_BARRIER_SERIAL_THREAD)
		started = now();
	pthread_barrier_wait(&start_line);
	do
	{
		rows = call(c, &params, position, sizeof(position));
		c->rows += rows;
	} while (!finished(c, rows));
	c->finished = now();

	PQfinish(c->conn);
	return NULL;
}

/* ----------
 * The run
 * ----------
 */

/* Latencies of all clients, in seconds, ascending.  The caller frees them. */
static double *
sorted_latencies(const Client *clients, long calls)
{
	double	   *all = must_alloc(NULL, calls * sizeof(double));
	long		n = 0;

	for (int i = 0; i < opt.clients; i++)
	{
		memcpy(all + n, clients[i].latency, clients[i].calls * sizeof(double));
		n += clients[i].calls;
	}
	qsort(all, n, sizeof(double), compare_doubles);
	return all;
}

static double
median(const double *v, long n)
{
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void
report(const Client *clients)
{
	long		calls = 0;
	long		rows = 0;
	double		end = started;
	double		elapsed;
	double	   *latency;

	for (int i = 0; i < opt.clients; i++)
	{
		calls += clients[i].calls;
		rows += clients[i].rows;
		if (clients[i].finished > end)
			end = clients[i].finished;
	}
	elapsed = end - started;
	latency = sorted_latencies(clients, calls);
	printf("calls=%ld rows=%ld seconds=%.6f calls_per_s=%.1f rows_per_s=%.1f median_us=%.2f p999_us=%.2f\n",
		   calls, rows, elapsed, calls / elapsed, rows / elapsed,
		   median(latency, calls) * 1e6, latency[calls * 999 / 1000] * 1e6);
	free(latency);
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: client [options] statement\n"
			"  -c clients  connections, each in a thread (default 1)\n"
			"  -n calls    calls of each client\n"
			"  -s seconds  length of the run\n"
			"  -e          stop at the first call that returns no row\n"
			"  -a query    send each column of its result as a text[] parameter\n"
			"  -b          arrays and results in binary format (default text)\n"
			"  -p          $1 is the first column of the last row, -1 at first;\n"
			"              results come in text format\n"
			"  -x          time the call alone, inside BEGIN and COMMIT\n"
			"  -f query    run this, too, after each call that returned rows; $1 and\n"
			"              $2 are the first two columns of the last one\n"
			"\"{client}\" in the statement is the client's number, from 0.\n");
	exit(2);
}

static void
read_options(int argc, char **argv)
{
	int			ch;

	while ((ch = getopt(argc, argv, "c:n:s:ea:bpxf:")) != -1)
	{
		switch (ch)
		{
			case 'c':
				opt.clients = atoi(optarg);
				break;
			case 'n':
				opt.calls = atol(optarg);
				break;
			case 's':
				opt.seconds = atof(optarg);
				break;
			case 'e':
				opt.until_empty = true;
				break;
			case 'a':
				opt.arrays = optarg;
				break;
			case 'b':
				opt.binary = true;
				break;
			case 'p':
				opt.paging = true;
				break;
			case 'x':
				opt.call_only = true;
				break;
			case 'f':
				opt.follow_up = optarg;
				break;
			default:
				usage();
		}
	}
	if (optind != argc - 1 || opt.clients < 1 || opt.clients > MAX_CLIENTS ||
		(opt.calls <= 0 && opt.seconds <= 0 && !opt.until_empty))
		usage();
	opt.statement = argv[optind];
}

int
main(int argc, char **argv)
{
	static Client clients[MAX_CLIENTS];
	pthread_t	threads[MAX_CLIENTS];

	read_options(argc, argv);
	if (opt.arrays != NULL)
		read_arrays();
	pthread_barrier_init(&start_line, NULL, opt.clients);
	for (int i = 0; i < opt.clients; i++)
	{
		clients[i].number = i;
		if (pthread_create(&threads[i], NULL, run_client, &clients[i]) != 0)
			die("pthread_create", NULL);
	}
	for (int i = 0; i < opt.clients; i++)
		pthread_join(threads[i], NULL);
	report(clients);
	return 0;
}
