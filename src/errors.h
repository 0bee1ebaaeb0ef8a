/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  SQLSTATEs of our own: only where a client must branch.  Everything
 *	  else uses PostgreSQL's codes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_ERRORS_H
#define PGQUEUE_ERRORS_H

/* An offset or stored position lies outside the log; detail: start and end. */
#define ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE MAKE_SQLSTATE('Q', 'U', '0', '0', '1')

#endif							/* PGQUEUE_ERRORS_H */
