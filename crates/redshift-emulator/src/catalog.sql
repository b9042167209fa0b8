-- What Redshift has and PostgreSQL lacks: functions, system views, and the count of bytes in VARCHAR columns.
-- Run once for each database, by a superuser.

CREATE SCHEMA redshift_emulator;
GRANT USAGE ON SCHEMA redshift_emulator TO PUBLIC;

CREATE DOMAIN redshift_emulator.super AS jsonb;

CREATE FUNCTION redshift_emulator.getdate() RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC') $$;

CREATE FUNCTION redshift_emulator.sysdate() RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT transaction_timestamp() AT TIME ZONE 'UTC' $$;

CREATE FUNCTION redshift_emulator.json_parse(value text) RETURNS redshift_emulator.super LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT value::jsonb $$;

CREATE FUNCTION redshift_emulator.json_serialize(value redshift_emulator.super) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT value::text $$;

CREATE FUNCTION redshift_emulator.is_valid_json(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  PERFORM value::jsonb;
  RETURN true;
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END $$;

CREATE AGGREGATE redshift_emulator.listagg(text, text) (SFUNC = string_agg_transfn, STYPE = internal, FINALFUNC = string_agg_finalfn);

CREATE FUNCTION redshift_emulator.dateadd(unit text, amount bigint, moment timestamp) RETURNS timestamp LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  IF unit IN ('quarter', 'quarters', 'qtr', 'qtrs') THEN
    RETURN moment + amount * interval '3 months';
  END IF;
  RETURN moment + amount * ('1 ' || unit)::interval;
END $$;

CREATE FUNCTION redshift_emulator.datediff(unit text, earlier timestamp, later timestamp) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  months bigint := (extract(year FROM later) - extract(year FROM earlier)) * 12 + extract(month FROM later) - extract(month FROM earlier);
BEGIN
  -- The boundaries that lie between, as Redshift counts.
  CASE
    WHEN unit IN ('year', 'years', 'yr', 'yrs', 'y') THEN RETURN extract(year FROM later) - extract(year FROM earlier);
    WHEN unit IN ('month', 'months', 'mon', 'mons') THEN RETURN months;
    WHEN unit IN ('day', 'days', 'd') THEN RETURN later::date - earlier::date;
    WHEN unit IN ('hour', 'hours', 'hr', 'hrs', 'h') THEN
      RETURN extract(epoch FROM date_trunc('hour', later) - date_trunc('hour', earlier)) / 3600;
    WHEN unit IN ('minute', 'minutes', 'min', 'mins', 'm') THEN
      RETURN extract(epoch FROM date_trunc('minute', later) - date_trunc('minute', earlier)) / 60;
    WHEN unit IN ('second', 'seconds', 'sec', 'secs', 's') THEN
      RETURN extract(epoch FROM date_trunc('second', later) - date_trunc('second', earlier));
    WHEN unit IN ('millisecond', 'milliseconds', 'ms') THEN RETURN trunc(extract(epoch FROM later - earlier) * 1000);
    WHEN unit IN ('microsecond', 'microseconds', 'us') THEN RETURN trunc(extract(epoch FROM later - earlier) * 1000000);
    ELSE RAISE EXCEPTION 'the emulator lacks DATEDIFF in %', unit;
  END CASE;
END $$;

-- VARCHAR(n) and CHAR(n) are n bytes: PostgreSQL counts characters, a constraint counts the rest. The name tells the limit, and the
-- emulator makes Redshift's message of it.
CREATE FUNCTION redshift_emulator.count_bytes(relation oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  changes text;
BEGIN
  WITH wanted AS (
    SELECT a.attname, a.atttypmod - 4 AS bytes, format('redshift_bytes_%s_%s', a.atttypmod - 4, a.attnum) AS name
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4
  ), had AS (
    SELECT c.conname::text AS name FROM pg_constraint c
    WHERE c.conrelid = relation AND c.conname LIKE 'redshift!_bytes!_%' ESCAPE '!'
  ), change AS (
    SELECT format('DROP CONSTRAINT %I', name) AS change FROM had WHERE name NOT IN (SELECT name FROM wanted)
    UNION ALL
    SELECT format('ADD CONSTRAINT %I CHECK (octet_length(%I) <= %s)', name, attname, bytes) FROM wanted
    WHERE name NOT IN (SELECT name FROM had)
  )
  SELECT string_agg(change, ', ') INTO changes FROM change;
  -- In one statement, since it calls this again.
  IF changes IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s %s', relation::regclass, changes);
  END IF;
END $$;

CREATE FUNCTION redshift_emulator.after_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  changed record;
BEGIN
  FOR changed IN
    SELECT DISTINCT objid FROM pg_event_trigger_ddl_commands() AS d JOIN pg_class c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'r'
  LOOP
    PERFORM redshift_emulator.count_bytes(changed.objid);
  END LOOP;
END $$;

CREATE EVENT TRIGGER redshift_emulator_after_ddl ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE')
  EXECUTE FUNCTION redshift_emulator.after_ddl();

-- What happened. Redshift's names, and a part of its columns.

CREATE TABLE redshift_emulator.settings (isolation_level integer NOT NULL);
INSERT INTO redshift_emulator.settings VALUES (1);

CREATE VIEW redshift_emulator.stv_db_isolation_level AS
  SELECT d.oid::bigint AS db_id, d.datname::text AS db_name,
         CASE s.isolation_level WHEN 1 THEN 'Snapshot Isolation' ELSE 'Serializable' END::text AS isolation_level_name,
         s.isolation_level
  FROM pg_database d, redshift_emulator.settings s WHERE d.datname = current_database();

CREATE TABLE redshift_emulator.sys_query_history (
  user_id integer, query_id bigint, query_label varchar, transaction_id bigint, session_id bigint, database_name varchar,
  query_type varchar, status varchar, start_time timestamp, end_time timestamp, elapsed_time bigint, returned_rows bigint,
  error_message varchar, query_text varchar);

CREATE TABLE redshift_emulator.sys_load_history (
  user_id integer, query_id bigint, transaction_id bigint, session_id bigint, database_name varchar, status varchar,
  table_name varchar, start_time timestamp, end_time timestamp, duration bigint, data_source varchar, file_format varchar,
  loaded_rows bigint, loaded_bytes bigint, source_file_count integer, source_file_bytes bigint, error_message varchar);

CREATE TABLE redshift_emulator.stl_load_commits (
  userid integer, query bigint, slice integer, name integer, filename varchar, byte_offset integer, lines_scanned bigint,
  errors integer, curtime timestamp, status integer, file_format varchar);

CREATE TABLE redshift_emulator.sys_load_error_detail (
  user_id integer, query_id bigint, transaction_id bigint, session_id bigint, database_name varchar, table_id bigint,
  table_name varchar, start_time timestamp, file_name varchar, line_number bigint, column_name varchar, column_type varchar,
  column_length varchar, "position" integer, error_code integer, error_message varchar);

CREATE TABLE redshift_emulator.sys_vacuum_history (
  user_id integer, transaction_id bigint, query_id bigint, database_name varchar, schema_name varchar, table_name varchar,
  table_id bigint, vacuum_type varchar, is_automatic boolean, status varchar, start_time timestamp, end_time timestamp);

CREATE TABLE redshift_emulator.sys_analyze_history (
  user_id integer, transaction_id bigint, query_id bigint, database_name varchar, schema_name varchar, table_name varchar,
  table_id bigint, is_automatic boolean, status varchar, start_time timestamp, end_time timestamp);

CREATE FUNCTION redshift_emulator.type_name(kind oid, modifier integer) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT CASE t.typname WHEN 'super' THEN 'super' WHEN 'bytea' THEN 'binary varying' ELSE format_type(kind, modifier) END
   FROM pg_type t WHERE t.oid = kind $$;

CREATE VIEW redshift_emulator.columns_of_tables AS
  SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, c.oid AS table_id, a.attname::text AS column_name,
         a.attnum::integer AS place, redshift_emulator.type_name(a.atttypid, a.atttypmod) AS type_name, a.attnotnull AS not_null,
         pg_get_expr(d.adbin, d.adrelid) AS column_default, c.relkind, t.typname::text AS postgres_type, a.atttypmod AS modifier
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm')
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'redshift_emulator');

CREATE VIEW redshift_emulator.svv_columns AS
  SELECT current_database()::text AS table_catalog, schema_name AS table_schema, table_name, column_name,
         row_number() OVER (PARTITION BY table_id ORDER BY place)::integer AS ordinal_position, column_default,
         CASE WHEN not_null THEN 'NO' ELSE 'YES' END AS is_nullable,
         CASE postgres_type WHEN 'varchar' THEN 'character varying' WHEN 'bpchar' THEN 'character' WHEN 'numeric' THEN 'numeric'
           ELSE type_name END AS data_type,
         CASE WHEN postgres_type IN ('varchar', 'bpchar') AND modifier > 4 THEN modifier - 4 END AS character_maximum_length,
         CASE postgres_type WHEN 'numeric' THEN (modifier - 4) >> 16 WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64 END
           AS numeric_precision,
         CASE postgres_type WHEN 'numeric' THEN (modifier - 4) & 2047 WHEN 'int2' THEN 0 WHEN 'int4' THEN 0 WHEN 'int8' THEN 0 END
           AS numeric_scale
  FROM redshift_emulator.columns_of_tables;

CREATE VIEW redshift_emulator.pg_table_def AS
  SELECT schema_name AS schemaname, table_name AS tablename, column_name AS "column", type_name AS type, 'none'::text AS encoding,
         false AS distkey, 0 AS sortkey, not_null AS notnull
  FROM redshift_emulator.columns_of_tables WHERE relkind = 'r' AND schema_name = ANY (current_schemas(false));

CREATE VIEW redshift_emulator.svv_table_info AS
  SELECT current_database()::text AS database, n.nspname::text AS schema, c.oid::bigint AS table_id, c.relname::text AS "table",
         'AUTO(ALL)'::text AS diststyle, 'AUTO(SORTKEY)'::text AS sortkey1,
         greatest(pg_total_relation_size(c.oid) / 1048576, 1)::bigint AS size,
         greatest(c.reltuples, 0)::numeric(38, 0) AS tbl_rows, 0::numeric(5, 2) AS unsorted, 0::numeric(5, 2) AS stats_off
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_emulator') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!';

CREATE VIEW redshift_emulator.svv_tables AS
  SELECT table_catalog::text, table_schema::text, table_name::text, table_type::text, NULL::text AS remarks
  FROM information_schema.tables WHERE table_schema <> 'redshift_emulator';

GRANT SELECT ON ALL TABLES IN SCHEMA redshift_emulator TO PUBLIC;
