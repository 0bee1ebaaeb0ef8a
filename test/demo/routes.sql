-- One transaction of the consumer of group "routes" (a pgbench script). It reads
-- the same messages at its own pace.

INSERT INTO route
SELECT m.value->>'origin', m.value->>'destination', count(*),
	sum((m.value->>'distance_miles')::int)
FROM queue.consume('routes', 'flights', max_messages => 500) m
GROUP BY 1, 2
ON CONFLICT (origin, destination) DO UPDATE
	SET flights = route.flights + EXCLUDED.flights,
		miles = route.miles + EXCLUDED.miles;
\sleep 50 ms
