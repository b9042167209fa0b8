-- What examples/transactions.toml has to make of its input, in DuckDB's SQL over `documents`:
-- `expected_transactions`, `expected_rejected`, `expected_transactions_1m`, `expected_transactions_5m`,
-- `expected_counts`. Written from the specification and the configuration, not from the code.
--
-- Variable: `now`, in microseconds. Times are microseconds since 1970 throughout.

-- ISO 8601 with an offset, or null. DuckDB would take a time without an offset for UTC.
CREATE OR REPLACE MACRO instant(t) AS
    CASE WHEN regexp_full_match(t, '\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)')
    THEN epoch_us(TRY_CAST(t AS TIMESTAMPTZ)) END;

-- A float as Spark writes it. DuckDB has the shortest digits too, but scientific form only from 1e-5 down.
CREATE OR REPLACE MACRO float_text(x) AS CASE
    WHEN x >= 1e-3 THEN x::VARCHAR
    WHEN x >= 1e-4 THEN
        regexp_replace(regexp_extract(x::VARCHAR, '^0\.000(.*)$', 1) || 'x', '^(.)(.*)x$', '\1.\2')
        || CASE WHEN length(x::VARCHAR) = 6 THEN '0' ELSE '' END || 'E-4'
    ELSE regexp_extract(x::VARCHAR, '^(.*)e', 1)
        || CASE WHEN contains(x::VARCHAR, '.') THEN '' ELSE '.0' END
        || 'E' || regexp_extract(x::VARCHAR, 'e(.*)$', 1)::INTEGER
    END;

CREATE OR REPLACE MACRO of_type(doc, path, types) AS
    coalesce(list_contains(types, json_type(doc, path)), true);
CREATE OR REPLACE MACRO absent(doc, path) AS coalesce(json_type(doc, path), 'NULL') = 'NULL';
CREATE OR REPLACE MACRO repeats_a_key(doc) AS len(json_keys(doc)) > len(list_distinct(json_keys(doc)));

-- What does not decode, and why. A record has one such reason.
CREATE TEMP TABLE decoded AS
SELECT *, CASE
    WHEN text IS NULL THEN 'decode.not_utf8'
    WHEN doc IS NULL THEN 'decode.syntax'
    WHEN json_type(doc) <> 'OBJECT' THEN 'decode.not_an_object'
    WHEN repeats_a_key(doc) OR repeats_a_key(doc->'$.metadata') THEN 'decode.duplicate_key'
    WHEN NOT (
        of_type(doc, '$.transaction_id', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.customer_id', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.amount', ['DOUBLE', 'UBIGINT', 'BIGINT', 'HUGEINT', 'NULL'])
        AND of_type(doc, '$.currency', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.merchant', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.category', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.status', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.timestamp', ['VARCHAR', 'NULL'])
        AND of_type(doc, '$.metadata', ['OBJECT', 'NULL'])
        AND coalesce(len(list_filter(map_values(TRY_CAST(doc->'$.metadata' AS MAP(VARCHAR, JSON))),
                lambda v: json_type(v) NOT IN ('VARCHAR', 'NULL'))), 0) = 0
    ) THEN 'decode.wrong_type'
    WHEN absent(doc, '$.transaction_id') OR absent(doc, '$.customer_id') OR absent(doc, '$.amount')
        OR absent(doc, '$.status') OR absent(doc, '$.timestamp') THEN 'decode.missing'
    END AS decode_reason
FROM documents;

CREATE TEMP TABLE fields AS
SELECT
    part, lane, off,
    doc->>'$.transaction_id' AS transaction_id,
    doc->>'$.customer_id' AS customer_id,
    (doc->>'$.amount')::DOUBLE AS amount,
    doc->>'$.currency' AS currency,
    doc->>'$.merchant' AS merchant,
    doc->>'$.category' AS category,
    doc->>'$.status' AS status,
    doc->>'$.timestamp' AS timestamp,
    (doc->'$.metadata')::MAP(VARCHAR, VARCHAR) AS metadata,
    instant(doc->>'$.timestamp') AS event_us
FROM decoded
WHERE decode_reason IS NULL;

-- All reasons, in the order in which the configuration has them. Null is not true.
CREATE TEMP TABLE judged AS
SELECT *, array_to_string(list_filter([
    CASE WHEN event_us IS NULL THEN 'event_time.invalid' END,
    CASE WHEN event_us > getvariable('now') + 600_000_000 THEN 'event_time.too_far_ahead' END,
    CASE WHEN regexp_matches(transaction_id, '^TXN_[0-9]+_[0-9]{4}$') THEN NULL ELSE 'rule.transaction_id_format' END,
    CASE WHEN regexp_matches(customer_id, '^CUST_[0-9]{6}$') THEN NULL ELSE 'rule.customer_id_format' END,
    CASE WHEN amount > 0 AND amount < 1000000 THEN NULL ELSE 'rule.amount_in_range' END,
    CASE WHEN currency IN ('USD', 'EUR', 'GBP') THEN NULL ELSE 'rule.currency_known' END,
    CASE WHEN status IN ('COMPLETED', 'PENDING', 'FAILED') THEN NULL ELSE 'rule.status_known' END,
    CASE WHEN event_us <= getvariable('now') THEN NULL ELSE 'rule.not_in_the_future' END,
    CASE WHEN event_us >= getvariable('now') - 7 * 86_400_000_000 THEN NULL ELSE 'rule.not_older_than_7_days' END
], lambda reason: reason IS NOT NULL), ',') AS reasons
FROM fields;

CREATE TEMP TABLE expected_rejected AS
SELECT
    CASE WHEN text IS NULL THEN to_base64(bytes) ELSE text END AS payload,
    CASE WHEN text IS NULL THEN 'base64' ELSE 'utf8' END AS payload_encoding,
    coalesce(decode_reason, reasons) AS reasons,
    part AS source_partition,
    off AS source_offset,
    getvariable('now') AS rejected_us
FROM decoded LEFT JOIN judged USING (part, lane, off)
WHERE decode_reason IS NOT NULL OR reasons <> '';

-- The watermark, record by record: the latest event time of the accepted ones before, less ten minutes.
CREATE TEMP TABLE accepted AS
WITH enriched AS (
    SELECT
        * EXCLUDE (reasons),
        CASE WHEN amount < 100 THEN 'small' WHEN amount < 1000 THEN 'medium' ELSE 'large' END AS amount_category,
        (event_us // 3_600_000_000 % 24)::INTEGER AS hour_of_day,
        (dayofweek(make_timestamp(event_us)) + 1)::INTEGER AS day_of_week,
        sha256(concat_ws('|', transaction_id, customer_id, float_text(amount), status)) AS row_hash
    FROM judged WHERE reasons = ''
),
-- Where one of the files that come later begins holds the watermark. Of the first 16 lines, the first that is accepted tells.
begins AS (
    SELECT lane, part, arg_min(event_us, off) AS first_us FROM enriched WHERE off < 16 GROUP BY lane, part
),
holds AS (
    SELECT p.part, min(b.first_us) AS hold_us
    FROM (SELECT DISTINCT lane, part FROM enriched) AS p JOIN begins AS b ON b.lane = p.lane AND b.part > p.part
    GROUP BY p.part
),
clocked AS (
    SELECT e.*, least(event_us, coalesce(hold_us, event_us)) AS clock_us
    FROM enriched AS e LEFT JOIN holds USING (part)
),
marked AS (
    SELECT *, max(clock_us) OVER (PARTITION BY lane ORDER BY part, off
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - 600_000_000 AS watermark
    FROM clocked
)
SELECT *, coalesce(event_us < watermark, false) AS late FROM marked;

-- Exact repeats: the same key, event time included, as a record before it in the lane. One that is on time is
-- within the ten minutes, since its own time is. Late records are never dropped, and are not what a repeat repeats.
CREATE TEMP TABLE occurrences AS
SELECT
    part, off,
    row_number() OVER (PARTITION BY lane, transaction_id, row_hash, event_us ORDER BY part, off) AS nth
FROM accepted WHERE NOT late;

CREATE TEMP TABLE kept AS SELECT part, off FROM occurrences WHERE nth = 1;

CREATE TEMP TABLE events AS SELECT * FROM accepted SEMI JOIN kept USING (part, off);

-- One row for each transaction: the latest by event time, then by partition and offset.
CREATE TEMP TABLE expected_transactions AS
SELECT
    transaction_id, customer_id, amount, currency, merchant, category, status, timestamp, metadata,
    event_us, amount_category, hour_of_day, day_of_week, row_hash,
    getvariable('now') AS processing_us, part AS source_partition, off AS source_offset
FROM (SELECT * FROM events UNION ALL SELECT * FROM accepted WHERE late)
QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY event_us DESC, part DESC, off DESC) = 1;

-- On-time events only. All windows are final, because the input has an end.
CREATE TEMP TABLE expected_transactions_1m AS
SELECT
    event_us - event_us % 60_000_000 AS window_start_us, window_start_us + 60_000_000 AS window_end_us, status,
    count(*) AS transaction_count, sum(amount) AS total_amount, avg(amount) AS avg_amount,
    max(amount) AS max_amount, min(amount) AS min_amount
FROM events GROUP BY ALL;

CREATE TEMP TABLE expected_transactions_5m AS
SELECT
    event_us - event_us % 60_000_000 - minutes * 60_000_000 AS window_start_us,
    window_start_us + 300_000_000 AS window_end_us, status,
    count(*) AS transaction_count, sum(amount) AS total_amount, avg(amount) AS avg_amount,
    max(amount) AS max_amount, min(amount) AS min_amount
FROM events, range(5) AS r(minutes) GROUP BY ALL;

CREATE TEMP TABLE expected_counts AS
SELECT
    (SELECT count(*) FROM documents) AS read,
    (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM accepted WHERE late) AS late,
    (SELECT count(*) FROM expected_rejected) AS rejected,
    (SELECT count(*) FROM occurrences) - (SELECT count(*) FROM kept) AS duplicates;
