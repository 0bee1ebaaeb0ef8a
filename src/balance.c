/*-------------------------------------------------------------------------
 *
 * balance.c
 *	  How many partitions each live member of a consumer group should own.
 *
 * Pure: numbers in, numbers out.
 *
 * Of n partitions each of m members gets n / m, and n % m of them one more:
 * those that own the most already, so that as few as possible move.  (Kafka's
 * cooperative sticky assignor aims at the same.)  The quotas add up to n, so
 * what some own above theirs is what others lack, less what nobody owns.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

/*
 * The quota of one member.	 owned: how many each owns, in an order that all
 * members agree on; it decides between those who own as many.
 */
int
pgqueue_quota(const int *owned, int nmembers, int me, int npartitions)
{
	int			rank = 0;

	for (int i = 0; i < nmembers; i++)
		if (owned[i] > owned[me] || (owned[i] == owned[me] && i < me))
			rank++;
	return npartitions / nmembers + (rank < npartitions % nmembers ? 1 : 0);
}
