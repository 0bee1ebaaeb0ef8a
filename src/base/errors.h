/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  SQLSTATEs of our own, where a client must branch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_ERRORS_H
#define PGQUEUE_ERRORS_H

/* An offset or stored position lies outside the log; detail: start and end. */
#define ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE MAKE_SQLSTATE('Q', 'U', '0', '0', '1')

/*
 * A sequence does not follow the producer's last one, or lies behind it and
 * was never stored; detail: which one is expected.
 */
#define ERRCODE_QUEUE_SEQUENCE_OUT_OF_ORDER MAKE_SQLSTATE('Q', 'U', '0', '0', '2')

/* The producer was fenced: a newer epoch is in use; detail: which. */
#define ERRCODE_QUEUE_PRODUCER_FENCED MAKE_SQLSTATE('Q', 'U', '0', '0', '3')

/* A member's messages were handed to another, or taken back. */
#define ERRCODE_QUEUE_MEMBER_FENCED MAKE_SQLSTATE('Q', 'U', '0', '0', '4')

#endif							/* PGQUEUE_ERRORS_H */
