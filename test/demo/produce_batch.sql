-- The lines in table "flight" as one batch, keyed by origin. Their numbers are the
-- sequences.

SELECT sum(count) AS stored, sum(duplicates) AS duplicates
FROM queue.produce_batch('flights',
	(SELECT array_agg(to_jsonb(f) - 'line' ORDER BY line) FROM flight f),
	keys => (SELECT array_agg(origin ORDER BY line) FROM flight),
	producer_id => 'batch',
	first_sequence => (SELECT min(line) FROM flight));
