/*-------------------------------------------------------------------------
 *
 * workers.c
 *	  Sessions that sleep until there is work and then do all there is.
 *
 * Each worker is a thread with a connection of its own:
 *
 *	 1. it does its statement (-r), a transaction a call, until one returns no
 *		row
 *	 2. it waits, by its CALL (-w) or for a notification (-l)
 *	 3. from 1 again
 *
 * It begins with 1, since messages may be there before it waits.  The workers
 * stop when the program's input ends, whatever they wait for then: the
 * program that closes it makes sure that nothing is left.  Both kinds of waiting are poll()
 * on the connection's socket and on that input.
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "must.h"

#define MAX_WORKERS 256

typedef struct Options
{
	int			workers;
	const char *wait;			/* CALL; NULL: listen */
	const char *listen;
	const char *work;			/* until it returns no row; NULL: wait only */
} Options;

typedef struct Worker
{
	PGconn	   *conn;
	long		waits;			/* that ended by themselves */
	long		calls;			/* that returned rows */
	long		rows;
	double		first;			/* clock after the first such call ... */
	double		last;			/* ... and after the last */
} Worker;

static Options opt = {.workers = 1};

/* ----------
 * Waiting
 * ----------
 */

/* Until the socket has something to read; false: the input has ended. */
static bool
socket_ready(PGconn *conn)
{
	struct pollfd fds[] = {
		{.fd = PQsocket(conn), .events = POLLIN},
		{.fd = STDIN_FILENO, .events = POLLIN}
	};

	if (poll(fds, 2, -1) < 1)
		die("poll", NULL);
	if (fds[1].revents != 0)
		return false;
	if (PQconsumeInput(conn) != 1)
		die("connection", conn);
	return true;
}

static void
cancel(PGconn *conn)
{
	PGcancel   *handle = PQgetCancel(conn);
	char		error[256];
	PGresult   *res;

	if (PQcancel(handle, error, sizeof(error)) != 1)
		die(error, NULL);
	PQfreeCancel(handle);
	while ((res = PQgetResult(conn)) != NULL)
		PQclear(res);
}

/* Both return false if the input has ended. */
static bool
wait_by_call(PGconn *conn)
{
	PGresult   *res;

	if (PQsendQueryPrepared(conn, "w", 0, NULL, NULL, NULL, 0) != 1)
		die(opt.wait, conn);
	while (PQisBusy(conn))
	{
		if (!socket_ready(conn))
		{
			cancel(conn);
			return false;
		}
	}
	while ((res = PQgetResult(conn)) != NULL)
		PQclear(must_succeed(conn, res, opt.wait));
	return true;
}

static bool
wait_for_notification(PGconn *conn)
{
	PGnotify   *notify;

	while ((notify = PQnotifies(conn)) == NULL)
		if (!socket_ready(conn))
			return false;
	/* one for all that have come so far: the work looks for everything */
	do
		PQfreemem(notify);
	while ((notify = PQnotifies(conn)) != NULL);
	return true;
}

/* ----------
 * Working
 * ----------
 */

static void
work(Worker *worker)
{
	int			rows;

	do
	{
		PGresult   *res = PQexecPrepared(worker->conn, "r", 0, NULL, NULL,
										 NULL, 0);

		rows = PQntuples(must_succeed(worker->conn, res, opt.work));
		PQclear(res);
		if (rows > 0)
		{
			worker->last = now();
			if (worker->calls++ == 0)
				worker->first = worker->last;
			worker->rows += rows;
		}
	} while (rows > 0);
}

static void *
run_worker(void *arg)
{
	Worker	   *worker = arg;

	for (;;)
	{
		if (opt.work != NULL)
			work(worker);
		if (!(opt.wait != NULL ? wait_by_call(worker->conn) :
			  wait_for_notification(worker->conn)))
			break;
		worker->waits++;
		if (opt.work == NULL)
			break;
	}
	PQfinish(worker->conn);
	return NULL;
}

static void
connect_worker(Worker *worker, int number)
{
	char		sql[128];
	char	   *wait;

	worker->conn = must_connect();
	if (opt.work != NULL)
		must_prepare(worker->conn, "r", opt.work);
	if (opt.wait != NULL)
	{
		wait = statement_for(opt.wait, number);
		must_prepare(worker->conn, "w", wait);
		free(wait);
	}
	else
	{
		snprintf(sql, sizeof(sql), "LISTEN %s", opt.listen);
		must_exec(worker->conn, sql);
	}
}

/* ----------
 * The run
 * ----------
 */

static void
report(const Worker *workers)
{
	Worker		all = {0};

	for (int i = 0; i < opt.workers; i++)
	{
		const Worker *w = &workers[i];

		all.waits += w->waits;
		all.calls += w->calls;
		all.rows += w->rows;
		if (w->calls > 0 && (all.first == 0 || w->first < all.first))
			all.first = w->first;
		if (w->last > all.last)
			all.last = w->last;
	}
	printf("waits=%ld calls=%ld rows=%ld seconds=%.6f\n",
		   all.waits, all.calls, all.rows, all.last - all.first);
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: workers -w call | -l channel [options]\n"
			"  -w call     what a worker waits by: CALL queue.wait(...)\n"
			"  -l channel  it listens there instead\n"
			"  -r query    its work, done until it returns no row; without it, a\n"
			"              worker waits once\n"
			"  -c workers  connections, each in a thread (default 1)\n"
			"\"{client}\" in the call is the worker's number, from 0.\n");
	exit(2);
}

static void
read_options(int argc, char **argv)
{
	int			ch;

	while ((ch = getopt(argc, argv, "w:l:r:c:")) != -1)
	{
		switch (ch)
		{
			case 'w':
				opt.wait = optarg;
				break;
			case 'l':
				opt.listen = optarg;
				break;
			case 'r':
				opt.work = optarg;
				break;
			case 'c':
				opt.workers = atoi(optarg);
				break;
			default:
				usage();
		}
	}
	if (optind != argc || opt.workers < 1 || opt.workers > MAX_WORKERS ||
		(opt.wait == NULL) == (opt.listen == NULL))
		usage();
}

int
main(int argc, char **argv)
{
	static Worker workers[MAX_WORKERS];
	pthread_t	threads[MAX_WORKERS];

	read_options(argc, argv);
	for (int i = 0; i < opt.workers; i++)
		connect_worker(&workers[i], i);
	for (int i = 0; i < opt.workers; i++)
		if (pthread_create(&threads[i], NULL, run_worker, &workers[i]) != 0)
			die("pthread_create", NULL);
	for (int i = 0; i < opt.workers; i++)
		pthread_join(threads[i], NULL);
	report(workers);
	return 0;
}
