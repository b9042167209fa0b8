-- What examples/sensors.toml has to make of its input, in DuckDB's SQL over `documents`:
-- `expected_readings`, `expected_rejected`, `expected_readings_1m`, `expected_energy_15m`,
-- `expected_counts`. Written from the specification and the configuration, not from the code.
--
-- Variables: `now`, in microseconds; `sites`, the path of the lookup's table. A record of the test has one
-- fault at most, so the order of the reasons within a record's decoding does not matter.

CREATE OR REPLACE MACRO number_types() AS ['DOUBLE', 'UBIGINT', 'BIGINT', 'HUGEINT', 'NULL'];
CREATE OR REPLACE MACRO whole_types() AS ['UBIGINT', 'BIGINT', 'HUGEINT', 'NULL'];
CREATE OR REPLACE MACRO text_types() AS ['VARCHAR', 'NULL'];
CREATE OR REPLACE MACRO of_type(doc, path, types) AS
    coalesce(list_contains(types, json_type(doc, path)), true);
CREATE OR REPLACE MACRO all_of_type(docs, types) AS
    coalesce(len(list_filter(docs, lambda d: NOT list_contains(types, json_type(d)))), 0) = 0;
CREATE OR REPLACE MACRO absent(doc, path) AS coalesce(json_type(doc, path), 'NULL') = 'NULL';
CREATE OR REPLACE MACRO repeats_a_key(doc) AS len(json_keys(doc)) > len(list_distinct(json_keys(doc)));
-- A decimal with 18 digits, 6 of them after the point, exactly; null if it is not.
CREATE OR REPLACE MACRO exact_decimal(t) AS
    CASE WHEN TRY_CAST(t AS DECIMAL(38, 18)) = TRY_CAST(t AS DECIMAL(18, 6)) THEN TRY_CAST(t AS DECIMAL(18, 6)) END;

CREATE TEMP TABLE decoded AS
SELECT *, CASE
    WHEN doc IS NULL THEN 'decode.syntax'
    WHEN repeats_a_key(doc) OR repeats_a_key(doc->'$.tags') THEN 'decode.duplicate_key'
    WHEN NOT (
        of_type(doc, '$.sensor_id', text_types())
        AND of_type(doc, '$.sequence', whole_types())
        AND of_type(doc, '$.sensor_type', text_types())
        AND of_type(doc, '$.site', text_types())
        AND of_type(doc, '$.value', number_types())
        AND of_type(doc, '$.energy_kwh', list_concat(number_types(), text_types()))
        AND (coalesce(json_type(doc, '$.energy_kwh'), '') <> 'VARCHAR'
            OR TRY_CAST(doc->>'$.energy_kwh' AS DOUBLE) IS NOT NULL)
        AND of_type(doc, '$.battery_percent', whole_types())
        AND of_type(doc, '$.calibrated', ['BOOLEAN', 'NULL'])
        AND of_type(doc, '$.installed_on', text_types())
        AND of_type(doc, '$.position', ['OBJECT', 'NULL'])
        AND of_type(doc, '$.position.lat', number_types())
        AND of_type(doc, '$.position.lon', number_types())
        AND of_type(doc, '$.samples', ['ARRAY', 'NULL'])
        AND all_of_type(json_extract(doc, '$.samples[*]'), number_types())
        AND of_type(doc, '$.tags', ['OBJECT', 'NULL'])
        AND all_of_type(map_values(TRY_CAST(doc->'$.tags' AS MAP(VARCHAR, JSON))), text_types())
        AND of_type(doc, '$.measured_at', whole_types())
    ) THEN 'decode.wrong_type'
    WHEN absent(doc, '$.sensor_id') OR absent(doc, '$.sequence') OR absent(doc, '$.sensor_type')
        OR absent(doc, '$.value') OR absent(doc, '$.measured_at') THEN 'decode.missing'
    WHEN TRY_CAST(doc->>'$.sequence' AS BIGINT) IS NULL
        OR (NOT absent(doc, '$.energy_kwh') AND exact_decimal(doc->>'$.energy_kwh') IS NULL)
        OR (NOT absent(doc, '$.battery_percent') AND TRY_CAST(doc->>'$.battery_percent' AS INTEGER) IS NULL)
        OR (NOT absent(doc, '$.installed_on')
            AND (NOT regexp_full_match(doc->>'$.installed_on', '\d{4}-\d\d-\d\d')
                OR TRY_CAST(doc->>'$.installed_on' AS DATE) IS NULL))
        THEN 'decode.out_of_range'
    END AS decode_reason
FROM documents;

CREATE TEMP TABLE judged AS
WITH fields AS (
    SELECT
        part, lane, off,
        doc->>'$.sensor_id' AS sensor_id,
        (doc->>'$.sequence')::BIGINT AS sequence,
        doc->>'$.sensor_type' AS sensor_type,
        doc->>'$.site' AS site,
        (doc->>'$.value')::DOUBLE AS value,
        exact_decimal(doc->>'$.energy_kwh') AS energy_kwh,
        (doc->>'$.battery_percent')::INTEGER AS battery_percent,
        (doc->>'$.calibrated')::BOOLEAN AS calibrated,
        (doc->>'$.installed_on')::DATE AS installed_on,
        CASE WHEN NOT absent(doc, '$.position') THEN
            {'lat': (doc->>'$.position.lat')::DOUBLE, 'lon': (doc->>'$.position.lon')::DOUBLE} END AS position,
        CASE WHEN NOT absent(doc, '$.samples') THEN (doc->'$.samples')::DOUBLE[] END AS samples,
        (doc->'$.tags')::MAP(VARCHAR, VARCHAR) AS tags,
        (doc->>'$.measured_at')::BIGINT * 1000 AS event_us
    FROM decoded WHERE decode_reason IS NULL
)
SELECT *, array_to_string(list_filter([
    CASE WHEN event_us > getvariable('now') + 300_000_000 THEN 'event_time.too_far_ahead' END,
    CASE WHEN sequence >= 0 THEN NULL ELSE 'rule.sequence_counts_up' END,
    CASE WHEN (sensor_type = 'temperature' AND value >= -60 AND value <= 120)
        OR (sensor_type = 'humidity' AND value >= 0 AND value <= 100)
        OR (sensor_type = 'power' AND value >= 0) THEN NULL ELSE 'rule.value_in_range' END,
    CASE WHEN battery_percent IS NULL OR (battery_percent >= 0 AND battery_percent <= 100) THEN NULL
        ELSE 'rule.battery_in_range' END
], lambda reason: reason IS NOT NULL), ',') AS reasons
FROM fields;

CREATE TEMP TABLE expected_rejected AS
SELECT
    text AS payload, 'utf8' AS payload_encoding, coalesce(decode_reason, reasons) AS reasons,
    part AS source_partition, off AS source_offset, getvariable('now') AS rejected_us
FROM decoded LEFT JOIN judged USING (part, lane, off)
WHERE decode_reason IS NOT NULL OR reasons <> '';

CREATE TEMP TABLE accepted AS
WITH enriched AS (
    SELECT j.* EXCLUDE (reasons), building, floor,
        battery_percent < 20 AS battery_low,
        (event_us // 3_600_000_000 % 24)::INTEGER AS hour_of_day,
        concat(coalesce(building, 'unknown'), '/', sensor_id) AS label
    FROM judged AS j
    LEFT JOIN read_csv(getvariable('sites'), header = true,
        columns = {'site': 'VARCHAR', 'building': 'VARCHAR', 'floor': 'INTEGER'}) AS s ON s.site = j.site
    WHERE reasons = ''
),
-- Where one of the files that come later begins holds the watermark. Of the first 16 lines, the first that is accepted tells.
begins AS (
    SELECT part, arg_min(event_us, off) AS first_us FROM enriched WHERE off < 16 GROUP BY part
),
holds AS (
    SELECT p.part, min(b.first_us) AS hold_us
    FROM (SELECT DISTINCT part FROM enriched) AS p JOIN begins AS b ON b.part > p.part
    GROUP BY p.part
),
clocked AS (
    SELECT e.*, least(event_us, coalesce(hold_us, event_us)) AS clock_us
    FROM enriched AS e LEFT JOIN holds USING (part)
),
marked AS (
    SELECT *, max(clock_us) OVER (ORDER BY part, off
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - 120_000_000 AS watermark
    FROM clocked
)
SELECT *, coalesce(event_us < watermark, false) AS late FROM marked;

-- A repeat is known for two minutes, in steps of a 64th: while the watermark has not passed the step of the
-- record that was kept. There are few repeats of repeats, so the key's records are gone through one by one.
CREATE TEMP TABLE occurrences AS
SELECT
    part, off, sensor_id, sequence,
    greatest(clock_us - 120_000_000, coalesce(watermark, clock_us - 120_000_000)) // 1_875_000 AS step_passed,
    event_us // 1_875_000 AS step,
    row_number() OVER (PARTITION BY sensor_id, sequence ORDER BY part, off) AS nth
FROM accepted WHERE NOT late;

CREATE TEMP TABLE kept AS
WITH RECURSIVE decided AS (
    SELECT sensor_id, sequence, nth, part, off, step AS kept_step, true AS is_new FROM occurrences WHERE nth = 1
    UNION ALL
    SELECT o.sensor_id, o.sequence, o.nth, o.part, o.off,
        CASE WHEN d.kept_step >= o.step_passed THEN d.kept_step ELSE o.step END,
        d.kept_step < o.step_passed
    FROM decided d JOIN occurrences o
        ON o.sensor_id = d.sensor_id AND o.sequence = d.sequence AND o.nth = d.nth + 1
)
SELECT part, off FROM decided WHERE is_new;

CREATE TEMP TABLE events AS SELECT * FROM accepted SEMI JOIN kept USING (part, off);

CREATE TEMP TABLE expected_readings AS
SELECT
    sensor_id, sequence, sensor_type, site, value, energy_kwh, battery_percent, calibrated, installed_on,
    position, samples, tags, event_us AS measured_us, event_us, building, floor, battery_low, hour_of_day,
    label, getvariable('now') AS processing_us, part AS source_partition, off AS source_offset
FROM (SELECT * FROM events UNION ALL SELECT * FROM accepted WHERE late)
QUALIFY row_number() OVER (PARTITION BY sensor_id, sequence ORDER BY event_us DESC, part DESC, off DESC) = 1;

CREATE TEMP TABLE expected_readings_1m AS
SELECT
    event_us - event_us % 60_000_000 AS window_start_us, window_start_us + 60_000_000 AS window_end_us, sensor_type,
    count(*) AS readings, avg(value) AS avg_value, min(value) AS min_value, max(value) AS max_value,
    sum(CASE WHEN battery_low THEN 1 ELSE 0 END) AS low_batteries
FROM events GROUP BY ALL;

CREATE TEMP TABLE expected_energy_15m AS
SELECT
    event_us - event_us % 300_000_000 - slides * 300_000_000 AS window_start_us,
    window_start_us + 900_000_000 AS window_end_us, building,
    count(energy_kwh) AS readings, sum(energy_kwh::DOUBLE) AS energy_kwh
FROM events, range(3) AS r(slides) GROUP BY ALL;

CREATE TEMP TABLE expected_counts AS
SELECT
    (SELECT count(*) FROM documents) AS read,
    (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM accepted WHERE late) AS late,
    (SELECT count(*) FROM expected_rejected) AS rejected,
    (SELECT count(*) FROM occurrences) - (SELECT count(*) FROM kept) AS duplicates;
