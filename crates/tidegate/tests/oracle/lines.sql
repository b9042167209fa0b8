-- The input as lines, with DuckDB alone: `lines(part, lane, off, text, bytes)`.
--
-- Variables: `input`, a pattern of files; each is a partition, in the order of their names, and its line
-- numbers are the offsets. `lane_each`: whether each file is a lane of its own, or all are one.
--
-- Files are read as Latin-1, in which every byte is a character, because lines need not be UTF-8.

CREATE OR REPLACE MACRO latin1_bytes(line) AS
    unhex(coalesce(list_aggregate([printf('%02x', unicode(c)) FOR c IN string_split(line, '')], 'string_agg', ''), ''));

CREATE TEMP TABLE raw_lines AS
SELECT row_number() OVER () AS n, filename, coalesce(line, '') AS line
FROM read_csv(getvariable('input'), filename = true, auto_detect = false, header = false,
    columns = {'line': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', encoding = 'latin-1',
    max_line_size = 16000000);

CREATE TEMP TABLE lines AS
WITH placed AS (
    SELECT
        (dense_rank() OVER (ORDER BY filename) - 1)::INTEGER AS part,
        row_number() OVER (PARTITION BY filename ORDER BY n) - 1 AS off,
        line,
        strlen(line) = length(line) AS ascii
    FROM raw_lines
),
binary_lines AS (
    SELECT *, CASE WHEN ascii THEN encode(line) ELSE latin1_bytes(line) END AS bytes FROM placed
)
SELECT
    part,
    CASE WHEN getvariable('lane_each') THEN part ELSE 0 END AS lane,
    off,
    -- Null where the bytes are not UTF-8.
    CASE WHEN ascii THEN line ELSE try(decode(bytes)) END AS text,
    bytes
FROM binary_lines;

-- The line as JSON; null where it is not. DuckDB is more lenient than RFC 8259 in places (a comma before
-- a closing bracket, NaN): such lines are for Tidegate's own tests.
CREATE TEMP TABLE documents AS
SELECT *, CASE WHEN json_valid(text) THEN text::JSON END AS doc FROM lines;
