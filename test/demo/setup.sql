-- The topic, and the two tables that its consumers keep.

CREATE EXTENSION queue;
SELECT queue.create_topic('flights', partitions => 8) \g /dev/null

CREATE TABLE airport (
	origin text PRIMARY KEY,
	flights bigint NOT NULL,
	delay_minutes bigint NOT NULL
);

CREATE TABLE route (
	origin text,
	destination text,
	flights bigint NOT NULL,
	miles bigint NOT NULL,
	PRIMARY KEY (origin, destination)
);
