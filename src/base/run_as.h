/*-------------------------------------------------------------------------
 *
 * run_as.h
 *	  Running functions of another role as that role (ddl.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_RUN_AS_H
#define QUEUE_RUN_AS_H

/* The user before pgqueue_run_as(). */
typedef struct RunAs
{
	Oid			user;
	int			security;
	int			nest;			/* level of settings */
} RunAs;

extern void pgqueue_run_as(Oid role, RunAs *before);
extern void pgqueue_run_as_end(const RunAs *before);

#endif							/* QUEUE_RUN_AS_H */
