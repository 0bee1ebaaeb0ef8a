-- The topic, what its loaders note down, and the table of group "airports".

CREATE EXTENSION queue;
SELECT queue.create_topic('flights', partitions => 8) \g /dev/null

-- A line of the file, with its number.
CREATE TABLE flight_line (
	line bigint,
	departed text,
	origin text,
	destination text,
	distance_miles int,
	delay_minutes int
);

-- How many lines each transaction of a loader has sent.
CREATE TABLE sent (
	loader text NOT NULL,
	lines int NOT NULL
);

CREATE TABLE airport (
	origin text PRIMARY KEY,
	flights bigint NOT NULL,
	delay_minutes bigint NOT NULL
);
