-- The lines as text and as JSON: `documents(part, lane, off, bytes, text, doc)`.

CREATE TEMP TABLE documents AS
WITH texts AS (
    -- Null where the bytes are not UTF-8.
    SELECT *, try(decode(bytes)) AS text FROM lines
    -- A line of white space has a number, but is no record.
    WHERE NOT regexp_full_match(hex(bytes), '(20|09|0D)*')
)
-- Null where the text is not JSON. DuckDB is more lenient than RFC 8259 in places (a comma before a closing
-- bracket, NaN): such lines are for the tests of decoding.
SELECT *, CASE WHEN json_valid(text) THEN text::JSON END AS doc FROM texts;
