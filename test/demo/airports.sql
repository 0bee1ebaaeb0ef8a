-- One transaction of a consumer of group "airports" (a pgbench script): a few
-- messages, what follows from them, some work, COMMIT. The work is a pause, so
-- that the saboteur finds a transaction to kill.

BEGIN;
INSERT INTO airport
SELECT m.value->>'origin', count(*), sum((m.value->>'delay_minutes')::int)
FROM queue.consume('airports', 'flights', max_messages => 10) m
GROUP BY 1
ON CONFLICT (origin) DO UPDATE
	SET flights = airport.flights + EXCLUDED.flights,
		delay_minutes = airport.delay_minutes + EXCLUDED.delay_minutes;
\sleep 20 ms
COMMIT;
