/*-------------------------------------------------------------------------
 *
 * client.h
 *	  The session's client: sleep, and notice that it is gone (client.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_CLIENT_H
#define QUEUE_CLIENT_H

extern void pgqueue_check_client(void);
extern void pgqueue_sleep(long ms, uint32 event);

#endif							/* QUEUE_CLIENT_H */
