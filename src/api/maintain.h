/*-------------------------------------------------------------------------
 *
 * maintain.h
 *	  Maintenance: steps, passes, and the processes that do them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_MAINTAIN_H
#define QUEUE_MAINTAIN_H

#include "postmaster/bgworker.h"

#include "topic/topic.h"

/* ---------------- maintain_pass.c ---------------- */

typedef enum MaintainPart
{
	MAINTAIN_REMOVE,			/* retention: frees disk space, needs none */
	MAINTAIN_AHEAD,				/* short: segments ahead */
	MAINTAIN_REST				/* may take long: compaction, history ... */
} MaintainPart;

extern int	pgqueue_history_retention;
extern bool pgqueue_maintain_partitions(const char *name, MaintainPart part,
										const List *partitions);

/* ---------------- maintain.c ---------------- */

extern void pgqueue_check_may_commit(FunctionCallInfo fcinfo, const char *hint);
extern void pgqueue_call_begin(FunctionCallInfo fcinfo);
extern int	pgqueue_maintenance_interval;

/* ---------------- topic_worker.c ---------------- */

extern bool pgqueue_maintain_elsewhere(const char *topic, Oid log,
									   MaintainPart part);

/* ---------------- maintain_step.c ---------------- */

/*
 * A step is called in a transaction of its own, with the topic just looked up,
 * and returns true if there is more to do.  arg: what steps of one task share.
 */
typedef bool (*Step) (Topic *topic, int32 partition, void *arg);

extern bool pgqueue_report_to_user;
extern void pgqueue_maintenance_report(const Topic *topic, int32 partition,
									   const char *action, int64 items,
									   int64 bytes);
extern bool pgqueue_lock_log(Topic **topic);
extern bool pgqueue_run_step(const char *name, int32 partition, Step step,
							 void *arg);
extern bool pgqueue_waited_in_vain;
extern bool pgqueue_needs_process;
extern bool pgqueue_disk_was_full;
extern bool pgqueue_maintenance_begin(const char *name, bool tell, Oid *log,
									  List **partitions);
extern bool pgqueue_left_out;

/* ---------------- maintain_process.c ---------------- */

extern void pgqueue_maintenance_process(void);
extern void pgqueue_begin_transaction(void);
extern void pgqueue_step_begin(void);
extern void pgqueue_step_end(void);
extern void pgqueue_write_if_room(void (*write) (void *arg), void *arg);
extern void pgqueue_report_failure(MemoryContext context);
extern void pgqueue_set_up_signals(void);
extern bool pgqueue_nap(long ms);

/* ---------------- maintain_failure.c ---------------- */

#define PGQUEUE_FAILURE_LENGTH 512

/* Why a part of a pass over a topic failed, first. */
typedef struct Failure
{
	bool		failed;
	int			sqlstate;
	char		message[PGQUEUE_FAILURE_LENGTH];
} Failure;

extern void pgqueue_failures_begin(void);
extern void pgqueue_failure_begin(int32 topic_id);
extern void pgqueue_failure_note(int sqlstate, const char *message);
extern const Failure *pgqueue_failure(void);
extern void pgqueue_failure_store(MaintainPart part);

/* ---------------- maintain_state.c ---------------- */

typedef struct Maintenance
{
	Oid			database;		/* invalid: the entry is free */
	TimestampTz written_at;
	int			pid;			/* of the worker; 0: none runs */
	Oid			started_by;		/* invalid: by the launcher */
	TimestampTz started_at;
	TimestampTz pass_begun;		/* the worker's current pass; 0: it does none */
	TimestampTz pass_ended;		/* the last pass, of any process; 0: none */
	TimestampTz pass_length;	/* of that, in microseconds */
	TimestampTz next_pass;		/* the worker's; 0: not known */
	bool		looked;			/* see maintain_persist.c */
} Maintenance;

extern void pgqueue_maintain_state_init(void);
extern void pgqueue_maintenance_read(Maintenance *copy);
extern bool pgqueue_worker_begin(Oid started_by);
extern void pgqueue_pass_began(void);
extern void pgqueue_pass_ended(TimestampTz begun, int next);
extern bool pgqueue_persistent_begin(void);
extern void pgqueue_persistent_undo(void);

/* ---------------- maintain_view.c ---------------- */

extern bool pgqueue_is_maintained(void);
extern void pgqueue_remind_of_maintenance(const Topic *topic);
extern void pgqueue_remind_of_workers(void);

/* ---------------- maintain_register.c ---------------- */

/* Seconds after which a worker that died is started again. */
#define PGQUEUE_RESTART_SECONDS 10

/* What the maintenance worker is told, in bgw_extra. */
typedef struct WorkerStart
{
	bool		persistent;		/* begin only if maintenance is persistent */
	Oid			started_by;		/* else: which role asked; invalid: launcher */
} WorkerStart;

extern bool pgqueue_has_launcher;
extern bool pgqueue_may_start_maintenance(Oid role);
extern bool pgqueue_register_maintenance(Oid database, int restart,
										 WorkerStart start,
										 BackgroundWorkerHandle **handle);

/* ---------------- maintain_start.c ---------------- */

extern void pgqueue_maintain_worker_init(void);

/* ---------------- maintain_persist.c ---------------- */

extern void pgqueue_persistent_store(void);
extern bool pgqueue_persistent_delete(void);
extern bool pgqueue_maintenance_expected(void);
extern bool pgqueue_persistent_worker_begin(Oid *role);
extern void pgqueue_maintain_persist_init(void);

#endif							/* QUEUE_MAINTAIN_H */
