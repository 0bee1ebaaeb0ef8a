/*-------------------------------------------------------------------------
 *
 * slow_flush.c
 *	  A disk whose every flush takes a millisecond longer.
 *
 * Preloaded into a server (LD_PRELOAD) it stands for network storage.  The
 * sleep comes before the real call, so a flush still means what it says, and
 * a commit that holds a lock over its flush shows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <time.h>

#define EXTRA_NANOSECONDS 1000000L

typedef int (*flush_function) (int fd);

static void
dawdle(void)
{
	struct timespec left = {0, EXTRA_NANOSECONDS};

	/* a signal cuts the sleep short; sleep the rest */
	while (nanosleep(&left, &left) != 0)
		;
}

int
fdatasync(int fd)
{
	static flush_function real;

	if (real == NULL)
		real = (flush_function) dlsym(RTLD_NEXT, "fdatasync");
	dawdle();
	return real(fd);
}

int
fsync(int fd)
{
	static flush_function real;

	if (real == NULL)
		real = (flush_function) dlsym(RTLD_NEXT, "fsync");
	dawdle();
	return real(fd);
}
