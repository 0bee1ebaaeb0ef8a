/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  How long after a COMMIT does a sleeping session know?
 *
 * One thread, so one clock, and three connections: the producer's, the waiter's,
 * and a watcher's that sees to it that the waiter sleeps.  A sample:
 *
 *	 1. the waiter is sent its CALL (-w), or does nothing: it has said LISTEN
 *	 2. a pause of random length; then the watcher asks until the waiter sleeps
 *	 3. the producer: BEGIN, its statement
 *	 4. the producer is sent COMMIT						<- the clock starts
 *	 5. poll() on the waiter's socket alone, until the CALL has returned, or a
 *		notification is there							<- the clock stops
 *	 6. the producer's answer is taken, if it has not come before
 *	 7. the waiter reads its message					<- and once more
 *
 * While the clock runs, nothing but the socket is looked at, and both kinds of
 * waiter are waited for by the same calls of libpq.
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "must.h"

#define PATIENCE_MS 10000
#define WARM_UP 50				/* samples that do not count */

typedef struct Options
{
	long		samples;
	const char *wait;			/* the waiter's CALL; NULL: it listens */
	const char *listen;			/* the waiter's channel */
	const char *produce;
	const char *read;			/* must return one row */
	const char *setting;		/* of the producer's session */
} Options;

static Options opt = {.samples = 1000};
static PGconn *producer;
static PGconn *waiter;
static PGconn *watcher;

/* ----------
 * The waiter
 * ----------
 */

/* As pg_stat_activity says: it waits in the extension, or for its client. */
static bool
sleeps(void)
{
	char		sql[256];

	snprintf(sql, sizeof(sql),
			 "SELECT FROM pg_stat_activity WHERE pid = %d AND %s",
			 PQbackendPID(waiter),
			 opt.wait != NULL ? "wait_event_type = 'Extension'"
			 : "state = 'idle' AND wait_event = 'ClientRead'");
	return must_exec(watcher, sql) == 1;
}

static void
fall_asleep(void)
{
	double		begun = now();

	if (opt.wait != NULL && PQsendQuery(waiter, opt.wait) != 1)
		die(opt.wait, waiter);
	/* 1 to 3 ms, so that no timer keeps step with it */
	usleep(1000 + random() % 2000);
	while (!sleeps())
		if (now() - begun > PATIENCE_MS / 1000.0)
			die("the waiter does not sleep", NULL);
}

/* Has what it waited for arrived in full?	Takes it. */
static bool
told(void)
{
	PGresult   *res;
	PGnotify   *notify;

	if (PQconsumeInput(waiter) != 1)
		die("waiter", waiter);
	if (opt.wait == NULL)
	{
		if ((notify = PQnotifies(waiter)) == NULL)
			return false;
		PQfreemem(notify);
		return true;
	}
	while (!PQisBusy(waiter))
	{
		if ((res = PQgetResult(waiter)) == NULL)
			return true;
		PQclear(must_succeed(waiter, res, opt.wait));
	}
	return false;
}

static void
wake_up(void)
{
	struct pollfd fd = {.fd = PQsocket(waiter), .events = POLLIN};

	do
	{
		if (poll(&fd, 1, PATIENCE_MS) != 1)
			die("the waiter is not woken", NULL);
	} while (!told());
}

/* ----------
 * The samples
 * ----------
 */

/* A statement prepared under that name; returns the number of rows. */
static int
exec_prepared(PGconn *conn, const char *name)
{
	PGresult   *res = PQexecPrepared(conn, name, 0, NULL, NULL, NULL, 0);
	int			rows = PQntuples(must_succeed(conn, res, name));

	PQclear(res);
	return rows;
}

/* Seconds until it is told, and until it has the message. */
static void
sample(double *woken, double *read)
{
	PGresult   *res;
	double		begun;

	fall_asleep();
	must_exec(producer, "BEGIN");
	exec_prepared(producer, "produce");

	begun = now();
	if (PQsendQuery(producer, "COMMIT") != 1)
		die("COMMIT", producer);
	wake_up();
	*woken = now() - begun;
	if (exec_prepared(waiter, "read") != 1)
		die("the waiter did not find one message", NULL);
	*read = now() - begun;

	while ((res = PQgetResult(producer)) != NULL)
		PQclear(must_succeed(producer, res, "COMMIT"));
}

static double
percentile(double *values, double part)
{
	qsort(values, opt.samples, sizeof(double), compare_doubles);
	return values[(long) ((opt.samples - 1) * part)] * 1e6;
}

static void
run(void)
{
	double	   *woken = must_alloc(NULL, (opt.samples + 1) * sizeof(double));
	double	   *read = must_alloc(NULL, (opt.samples + 1) * sizeof(double));

	for (long i = -WARM_UP; i < opt.samples; i++)
		sample(&woken[i < 0 ? 0 : i], &read[i < 0 ? 0 : i]);
	printf("samples=%ld p50=%.2f p99=%.2f read_p50=%.2f read_p99=%.2f\n",
		   opt.samples, percentile(woken, 0.5), percentile(woken, 0.99),
		   percentile(read, 0.5), percentile(read, 0.99));
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: wakeup -w call | -l channel [options] produce read\n"
			"  -w call     what the waiter waits by: CALL queue.wait(...)\n"
			"  -l channel  it listens there instead\n"
			"  -n samples  (default 1000)\n"
			"  -s setting  statement that the producer's session begins with\n"
			"produce: what the producer does in each transaction\n"
			"read: how the waiter then gets the message, one row\n");
	exit(2);
}

static void
read_options(int argc, char **argv)
{
	int			ch;

	while ((ch = getopt(argc, argv, "w:l:n:s:")) != -1)
	{
		switch (ch)
		{
			case 'w':
				opt.wait = optarg;
				break;
			case 'l':
				opt.listen = optarg;
				break;
			case 'n':
				opt.samples = atol(optarg);
				break;
			case 's':
				opt.setting = optarg;
				break;
			default:
				usage();
		}
	}
	if (optind != argc - 2 || opt.samples < 1 ||
		(opt.wait == NULL) == (opt.listen == NULL))
		usage();
	opt.produce = argv[optind];
	opt.read = argv[optind + 1];
}

int
main(int argc, char **argv)
{
	char		sql[128];

	read_options(argc, argv);
	srandom(getpid());
	producer = must_connect();
	waiter = must_connect();
	watcher = must_connect();
	if (opt.setting != NULL)
		must_exec(producer, opt.setting);
	if (opt.listen != NULL)
	{
		snprintf(sql, sizeof(sql), "LISTEN %s", opt.listen);
		must_exec(waiter, sql);
	}
	must_prepare(producer, "produce", opt.produce);
	must_prepare(waiter, "read", opt.read);
	run();
	return 0;
}
