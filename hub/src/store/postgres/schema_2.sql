-- Version 2. From when on the tokens of users are good, in seconds since 1970.
CREATE TABLE valid_from (name text PRIMARY KEY, time bigint NOT NULL);
