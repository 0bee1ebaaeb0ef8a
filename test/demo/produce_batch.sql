-- Lines of the file, from standard input, as one batch keyed by origin.

CREATE TEMPORARY TABLE flight (
	departed text,
	origin text,
	destination text,
	distance_miles int,
	delay_minutes int
);
\copy flight FROM pstdin WITH (FORMAT csv)

SELECT sum(count) AS produced
FROM queue.produce_batch('flights',
	(SELECT array_agg(to_jsonb(f) ORDER BY departed, origin) FROM flight f),
	keys => (SELECT array_agg(origin ORDER BY departed, origin) FROM flight));
