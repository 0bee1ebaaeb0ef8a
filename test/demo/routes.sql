-- Group "routes": a handler, which counts flights by route, and fails on some.

CREATE TABLE route (
	origin text,
	destination text CHECK (destination ~ '^[A-Z]{3}$'),
	flights bigint NOT NULL,
	miles bigint NOT NULL,
	PRIMARY KEY (origin, destination)
);

CREATE TABLE closed (
	origin text PRIMARY KEY,
	until timestamptz NOT NULL
);

-- What the handler has done, in order.
CREATE TABLE handled (
	number bigint GENERATED ALWAYS AS IDENTITY,
	origin text NOT NULL,
	"offset" bigint NOT NULL,
	attempt int NOT NULL
);

CREATE FUNCTION count_route(flight queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM closed
			WHERE origin = flight.key AND clock_timestamp() < until) THEN
		RAISE EXCEPTION 'airport % is closed', flight.key;
	END IF;
	INSERT INTO route
	VALUES (flight.key, flight.value->>'destination', 1,
		(flight.value->>'distance_miles')::int)
	ON CONFLICT (origin, destination) DO UPDATE
		SET flights = route.flights + EXCLUDED.flights,
			miles = route.miles + EXCLUDED.miles;
	INSERT INTO handled (origin, "offset", attempt)
	VALUES (flight.key, flight."offset", flight.attempt);
END $$;

-- Five attempts take 12 s at least, so a flight that fails as its airport is closed
-- for ten seconds does not use them up.
SELECT queue.create_topic('refused', partitions => 1) \g /dev/null
SELECT queue.set_failure_policy('routes', 'flights', max_attempts => 5,
	backoff => '1 s', hold => 'key', dead_letter => 'refused') \g /dev/null
SELECT queue.subscribe('routes', 'flights', 'count_route(queue.message)') \g /dev/null
