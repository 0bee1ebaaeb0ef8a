/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  The parts of the fuzzer: random numbers, the grammar, faults, and the
 *	  control group.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

/* A growing string. */
typedef struct Text
{
	char	   *data;
	size_t		length;
	size_t		room;
} Text;

#define TOPICS 6				/* of the fuzzing sessions: t0 to t5 */

/* What a statement is drawn from, and what its placeholders stand for. */
typedef struct Draw
{
	uint64_t	random;			/* state of the generator */
	int			topic;			/* number of the topic that it is about */
	int			owner;			/* the session's bit in Relation.owners */
	const char *persona;		/* prefix of the rules of its own */
	int			session;
	long		step;
} Draw;

/* ----------
 * fuzz.c
 * ----------
 */
extern volatile bool stopping;
extern void report_fault(const char *kind, const char *statement,
						 const char *detail);
extern void print_waits(void);
extern double now(void);
extern void *must_alloc(void *old, size_t size);
extern char *must_copy(const char *from);

/* ----------
 * grammar.c
 * ----------
 */
extern void text_add(Text *text, const char *from, size_t length);
extern void text_put(Text *text, const char *from);
extern uint64_t draw_number(Draw *draw, uint64_t below);
extern void read_grammar(const char *path);
extern void read_signatures(PGconn *conn);
extern void expand_rule(Draw *draw, const char *rule, Text *to);

/* ----------
 * relations.c
 * ----------
 */
extern void read_relations(PGconn *conn);
extern void put_relation(Draw *draw, bool logs, bool segments, Text *to);
extern void put_topic_type(const Draw *draw, Text *to);
extern void put_next_bound(const Draw *draw, Text *to);

/* ----------
 * control.c
 * ----------
 */
extern void start_control(void);
extern void watch_control(void);
extern void finish_control(void);

#endif							/* FUZZ_H */
