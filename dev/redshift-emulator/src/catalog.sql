-- What Redshift has and PostgreSQL lacks: functions, system views, and the count of bytes in VARCHAR columns.
-- Run once for each database, by a superuser.

CREATE SCHEMA redshift_emulator;
GRANT USAGE ON SCHEMA redshift_emulator TO PUBLIC;

CREATE DOMAIN redshift_emulator.super AS jsonb;

-- VARCHAR: text whose comparisons do not see blanks at the end, as Redshift's do not. It is stored as PostgreSQL's varchar is, and
-- compared by the functions of bpchar, which have the same form in memory.
CREATE TYPE redshift_emulator.varchar;
CREATE FUNCTION redshift_emulator.varchar_in(cstring, oid, integer) RETURNS redshift_emulator.varchar LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'varcharin';
CREATE FUNCTION redshift_emulator.varchar_out(redshift_emulator.varchar) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'varcharout';
CREATE FUNCTION redshift_emulator.varchar_recv(internal, oid, integer) RETURNS redshift_emulator.varchar LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'varcharrecv';
CREATE FUNCTION redshift_emulator.varchar_send(redshift_emulator.varchar) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'varcharsend';
CREATE TYPE redshift_emulator.varchar (INPUT = redshift_emulator.varchar_in, OUTPUT = redshift_emulator.varchar_out, RECEIVE = redshift_emulator.varchar_recv,
  SEND = redshift_emulator.varchar_send, TYPMOD_IN = varchartypmodin, TYPMOD_OUT = varchartypmodout, INTERNALLENGTH = VARIABLE,
  ALIGNMENT = int4, STORAGE = extended, CATEGORY = 'S', COLLATABLE = true);
CREATE FUNCTION redshift_emulator.varchar(redshift_emulator.varchar, integer, boolean) RETURNS redshift_emulator.varchar
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'varchar';
CREATE CAST (redshift_emulator.varchar AS redshift_emulator.varchar)
  WITH FUNCTION redshift_emulator.varchar(redshift_emulator.varchar, integer, boolean) AS IMPLICIT;
CREATE CAST (redshift_emulator.varchar AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (redshift_emulator.varchar AS pg_catalog.varchar) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS redshift_emulator.varchar) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pg_catalog.varchar AS redshift_emulator.varchar) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION redshift_emulator.varchar_eq(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchareq';
CREATE OPERATOR pg_catalog.= (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_eq, COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
  RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE FUNCTION redshift_emulator.varchar_ne(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharne';
CREATE OPERATOR pg_catalog.<> (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_ne, COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
  RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE FUNCTION redshift_emulator.varchar_lt(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharlt';
CREATE OPERATOR pg_catalog.< (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_lt, COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
  RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE FUNCTION redshift_emulator.varchar_gt(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchargt';
CREATE OPERATOR pg_catalog.> (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_gt, COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
  RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE FUNCTION redshift_emulator.varchar_le(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharle';
CREATE OPERATOR pg_catalog.<= (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_le, COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
  RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE FUNCTION redshift_emulator.varchar_ge(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharge';
CREATE OPERATOR pg_catalog.>= (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.varchar_ge, COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
  RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE FUNCTION redshift_emulator.varchar_cmp(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS integer
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharcmp';
CREATE FUNCTION redshift_emulator.varchar_sort(internal) RETURNS void LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchar_sortsupport';
CREATE FUNCTION redshift_emulator.varchar_hash(redshift_emulator.varchar) RETURNS integer LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashbpchar';
CREATE FUNCTION redshift_emulator.varchar_larger(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS redshift_emulator.varchar
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchar_larger';
CREATE FUNCTION redshift_emulator.varchar_smaller(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS redshift_emulator.varchar
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchar_smaller';
CREATE OPERATOR CLASS redshift_emulator.varchar_ops DEFAULT FOR TYPE redshift_emulator.varchar USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
  FUNCTION 1 redshift_emulator.varchar_cmp(redshift_emulator.varchar, redshift_emulator.varchar),
  FUNCTION 2 (redshift_emulator.varchar, redshift_emulator.varchar) redshift_emulator.varchar_sort(internal);
CREATE OPERATOR CLASS redshift_emulator.varchar_hash_ops DEFAULT FOR TYPE redshift_emulator.varchar USING hash AS
  OPERATOR 1 =, FUNCTION 1 redshift_emulator.varchar_hash(redshift_emulator.varchar);
CREATE AGGREGATE redshift_emulator.max(redshift_emulator.varchar) (SFUNC = redshift_emulator.varchar_larger, STYPE = redshift_emulator.varchar, SORTOP = >);
CREATE AGGREGATE redshift_emulator.min(redshift_emulator.varchar) (SFUNC = redshift_emulator.varchar_smaller, STYPE = redshift_emulator.varchar, SORTOP = <);

-- Text that is no column of type VARCHAR compares the same way: these stand before PostgreSQL's own in the search path. What is grouped
-- by goes by its type instead, so functions of a VARCHAR are a VARCHAR.
CREATE FUNCTION redshift_emulator.text_eq(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchareq';
CREATE FUNCTION redshift_emulator.text_ne(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharne';
CREATE FUNCTION redshift_emulator.text_lt(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharlt';
CREATE FUNCTION redshift_emulator.text_gt(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchargt';
CREATE FUNCTION redshift_emulator.text_le(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharle';
CREATE FUNCTION redshift_emulator.text_ge(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharge';
CREATE FUNCTION redshift_emulator.text_cmp(text, text) RETURNS integer LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharcmp';
CREATE FUNCTION redshift_emulator.text_hash(text) RETURNS integer LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashbpchar';
CREATE OPERATOR redshift_emulator.= (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_eq,
  COMMUTATOR = OPERATOR(redshift_emulator.=), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR redshift_emulator.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_ne,
  COMMUTATOR = OPERATOR(redshift_emulator.<>), NEGATOR = OPERATOR(redshift_emulator.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR redshift_emulator.< (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_lt,
  RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR redshift_emulator.> (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_gt,
  COMMUTATOR = OPERATOR(redshift_emulator.<), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR redshift_emulator.<= (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_le,
  NEGATOR = OPERATOR(redshift_emulator.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR redshift_emulator.>= (LEFTARG = text, RIGHTARG = text, FUNCTION = redshift_emulator.text_ge,
  COMMUTATOR = OPERATOR(redshift_emulator.<=), NEGATOR = OPERATOR(redshift_emulator.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE OPERATOR CLASS redshift_emulator.text_ops FOR TYPE text USING btree AS
  OPERATOR 1 redshift_emulator.<, OPERATOR 2 redshift_emulator.<=, OPERATOR 3 redshift_emulator.=, OPERATOR 4 redshift_emulator.>=,
  OPERATOR 5 redshift_emulator.>, FUNCTION 1 redshift_emulator.text_cmp(text, text);
CREATE OPERATOR CLASS redshift_emulator.text_hash_ops FOR TYPE text USING hash AS
  OPERATOR 1 redshift_emulator.=, FUNCTION 1 redshift_emulator.text_hash(text);

CREATE FUNCTION redshift_emulator.concat(redshift_emulator.varchar, redshift_emulator.varchar) RETURNS redshift_emulator.varchar
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textcat';
CREATE OPERATOR pg_catalog.|| (LEFTARG = redshift_emulator.varchar, RIGHTARG = redshift_emulator.varchar,
  FUNCTION = redshift_emulator.concat);
DO $$
DECLARE
  known record;
BEGIN
  FOR known IN
    SELECT p.proname, p.prosrc, regexp_replace(oidvectortypes(p.proargtypes), '^text', 'redshift_emulator.varchar') AS arguments
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND l.lanname = 'internal' AND p.prorettype = 'text'::regtype
      AND p.proargtypes[0] = 'text'::regtype AND p.proname IN ('upper', 'lower', 'initcap', 'btrim', 'ltrim', 'rtrim', 'substring',
        'substr', 'left', 'right', 'replace', 'translate', 'split_part', 'reverse', 'repeat', 'lpad', 'rpad')
  LOOP
    EXECUTE format('CREATE FUNCTION redshift_emulator.%I(%s) RETURNS redshift_emulator.varchar LANGUAGE internal IMMUTABLE STRICT
      PARALLEL SAFE AS %L', known.proname, known.arguments, known.prosrc);
  END LOOP;
END $$;

CREATE FUNCTION redshift_emulator.getdate() RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC') $$;

CREATE FUNCTION redshift_emulator.sysdate() RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT transaction_timestamp() AT TIME ZONE 'UTC' $$;

CREATE FUNCTION redshift_emulator.json_parse(value text) RETURNS redshift_emulator.super LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT value::jsonb $$;

CREATE FUNCTION redshift_emulator.json_serialize(value redshift_emulator.super) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT value::text $$;

-- SUPER as text: the text of a string without its quotes, and other values as JSON has them.
CREATE FUNCTION redshift_emulator.super_text(value jsonb) RETURNS redshift_emulator.varchar LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT (value #>> '{}')::redshift_emulator.varchar $$;
CREATE CAST (jsonb AS redshift_emulator.varchar) WITH FUNCTION redshift_emulator.super_text(jsonb);

CREATE FUNCTION redshift_emulator.is_valid_json(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  PERFORM value::jsonb;
  RETURN true;
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END $$;

-- What FROM t, t.path AS item AT place brings: the elements of an array, numbered from 0. What is no array has none.
CREATE FUNCTION redshift_emulator.elements(value redshift_emulator.super) RETURNS TABLE (item redshift_emulator.super, place bigint)
LANGUAGE sql IMMUTABLE AS
$$ SELECT element, number - 1 FROM jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value::jsonb ELSE '[]' END)
     WITH ORDINALITY AS each (element, number) $$;

-- And FROM t, UNPIVOT t.path AS item AT name: the attributes of an object.
CREATE FUNCTION redshift_emulator.attributes(value redshift_emulator.super) RETURNS TABLE (item redshift_emulator.super, name redshift_emulator.varchar)
LANGUAGE sql IMMUTABLE AS
$$ SELECT each.value, each.key::redshift_emulator.varchar
   FROM jsonb_each(CASE jsonb_typeof(value) WHEN 'object' THEN value::jsonb ELSE '{}' END) AS each $$;

CREATE AGGREGATE redshift_emulator.listagg(redshift_emulator.varchar, redshift_emulator.varchar) (
  SFUNC = string_agg_transfn, STYPE = internal, FINALFUNC = string_agg_finalfn);
-- LISTAGG leaves out empty texts as it does nulls.
CREATE FUNCTION redshift_emulator.listed(value redshift_emulator.varchar) RETURNS redshift_emulator.varchar LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT CASE WHEN octet_length(value) > 0 THEN value END $$;

-- LISTAGG(DISTINCT ...) OVER (...): PostgreSQL takes no DISTINCT before OVER. The first of values that are equal counts.
CREATE FUNCTION redshift_emulator.add_distinct("values" redshift_emulator.varchar[], value redshift_emulator.varchar)
RETURNS redshift_emulator.varchar[] LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN value IS NULL OR value = ANY ("values") THEN "values" ELSE "values" || value END $$;
CREATE AGGREGATE redshift_emulator.distinct_values(redshift_emulator.varchar) (
  SFUNC = redshift_emulator.add_distinct, STYPE = redshift_emulator.varchar[], INITCOND = '{}');
CREATE FUNCTION redshift_emulator.listagg("values" redshift_emulator.varchar[], separator redshift_emulator.varchar)
RETURNS redshift_emulator.varchar LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN cardinality("values") > 0 THEN array_to_string("values", separator::text)::redshift_emulator.varchar END $$;

-- MEDIAN is an aggregate like others, so that it can stand before OVER.
CREATE FUNCTION redshift_emulator.median_number("values" anyarray) RETURNS numeric LANGUAGE sql IMMUTABLE AS
$$ SELECT avg(value) FROM (SELECT value::numeric, row_number() OVER (ORDER BY value) AS n, count(*) OVER () AS many
     FROM unnest("values") AS value WHERE value IS NOT NULL) AS ranked WHERE n IN ((many + 1) / 2, many / 2 + 1) $$;
CREATE FUNCTION redshift_emulator.median_double("values" double precision[]) RETURNS double precision LANGUAGE sql IMMUTABLE AS
$$ SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FROM unnest("values") AS value $$;
CREATE FUNCTION redshift_emulator.median_moment("values" timestamp[]) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
$$ SELECT min(value) + (max(value) - min(value)) / 2 FROM (SELECT value, row_number() OVER (ORDER BY value) AS n,
     count(*) OVER () AS many FROM unnest("values") AS value WHERE value IS NOT NULL) AS ranked
   WHERE n IN ((many + 1) / 2, many / 2 + 1) $$;
CREATE FUNCTION redshift_emulator.median_zoned("values" timestamptz[]) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$ SELECT redshift_emulator.median_moment(array_agg(value AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC' FROM unnest("values") AS value $$;
-- Where two days are in the middle, the one between them; whether Redshift rounds it down was not tried.
CREATE FUNCTION redshift_emulator.median_day("values" date[]) RETURNS date LANGUAGE sql IMMUTABLE AS
$$ SELECT redshift_emulator.median_moment(array_agg(value::timestamp))::date FROM unnest("values") AS value $$;
CREATE AGGREGATE redshift_emulator.median(smallint) (SFUNC = array_append, STYPE = smallint[], FINALFUNC = redshift_emulator.median_number);
CREATE AGGREGATE redshift_emulator.median(integer) (SFUNC = array_append, STYPE = integer[], FINALFUNC = redshift_emulator.median_number);
CREATE AGGREGATE redshift_emulator.median(bigint) (SFUNC = array_append, STYPE = bigint[], FINALFUNC = redshift_emulator.median_number);
CREATE AGGREGATE redshift_emulator.median(numeric) (SFUNC = array_append, STYPE = numeric[], FINALFUNC = redshift_emulator.median_number);
CREATE AGGREGATE redshift_emulator.median(double precision) (SFUNC = array_append, STYPE = double precision[],
  FINALFUNC = redshift_emulator.median_double);
CREATE AGGREGATE redshift_emulator.median(timestamp) (SFUNC = array_append, STYPE = timestamp[], FINALFUNC = redshift_emulator.median_moment);
CREATE AGGREGATE redshift_emulator.median(timestamptz) (SFUNC = array_append, STYPE = timestamptz[], FINALFUNC = redshift_emulator.median_zoned);
CREATE AGGREGATE redshift_emulator.median(date) (SFUNC = array_append, STYPE = date[], FINALFUNC = redshift_emulator.median_day);

-- For tests that need a statement which takes its time; Redshift has nothing like it.
CREATE FUNCTION redshift_emulator.sleep(seconds double precision) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(seconds) $$;

CREATE FUNCTION redshift_emulator.convert_timezone(source text, target text, moment timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT moment AT TIME ZONE source AT TIME ZONE target $$;

CREATE FUNCTION redshift_emulator.convert_timezone(target text, moment timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT moment AT TIME ZONE 'UTC' AT TIME ZONE target $$;

CREATE FUNCTION redshift_emulator.strtol(digits text, base integer) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  value bigint := 0;
  digit integer;
BEGIN
  FOR place IN 1 .. length(digits) LOOP
    digit := position(lower(substr(digits, place, 1)) IN '0123456789abcdefghijklmnopqrstuvwxyz') - 1;
    IF digit < 0 OR digit >= base THEN
      RAISE EXCEPTION 'The input % is not valid to be converted to base %', digits, base;
    END IF;
    value := value * base + digit;
  END LOOP;
  RETURN value;
END $$;

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

-- VARCHAR(n) and CHAR(n) are n bytes: PostgreSQL counts characters, a constraint counts the rest. DECIMAL of 19 digits is stored in
-- eight bytes, so it ends before 19 nines. The name of a constraint tells the limit, and the emulator makes Redshift's message of it.
CREATE FUNCTION redshift_emulator.count_bytes(relation oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  changes text;
BEGIN
  WITH wanted AS (
    SELECT format('redshift_bytes_%s_%s', a.atttypmod - 4, a.attnum) AS name,
           format('octet_length(%I) <= %s', a.attname, a.atttypmod - 4) AS test
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4
    UNION ALL
    SELECT format('redshift_decimal_%s_%s', (a.atttypmod - 4) & 2047, a.attnum),
           format('abs(%I) <= %s', a.attname, 9223372036854775807 / 10::numeric ^ ((a.atttypmod - 4) & 2047))
    FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'numeric'::regtype
      AND (a.atttypmod - 4) >> 16 = 19
  ), had AS (
    SELECT c.conname::text AS name FROM pg_constraint c
    WHERE c.conrelid = relation AND c.conname ~ '^redshift_(bytes|decimal)_'
  ), change AS (
    SELECT format('DROP CONSTRAINT %I', name) AS change FROM had WHERE name NOT IN (SELECT name FROM wanted)
    UNION ALL
    SELECT format('ADD CONSTRAINT %I CHECK (%s)', name, test) FROM wanted
    WHERE name NOT IN (SELECT name FROM had)
  )
  SELECT string_agg(change, ', ') INTO changes FROM change;
  -- In one statement, since it calls this again.
  IF changes IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s %s', relation::regclass, changes);
  END IF;
END $$;

-- Text of an expression is VARCHAR in a table that is made of a query; how wide Redshift makes it was not tried.
CREATE FUNCTION redshift_emulator.text_is_varchar(relation oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  changes text;
BEGIN
  SELECT string_agg(format('ALTER COLUMN %I TYPE redshift_emulator.varchar(65535)', attname), ', ') INTO changes
  FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND (atttypid IN ('text'::regtype, 'pg_catalog.varchar'::regtype)
    OR (atttypid = 'redshift_emulator.varchar'::regtype AND atttypmod = -1));
  IF changes IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s %s', relation::regclass, changes);
  END IF;
END $$;

CREATE FUNCTION redshift_emulator.after_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  changed record;
BEGIN
  IF tg_tag IN ('CREATE TABLE AS', 'SELECT INTO') THEN
    FOR changed IN SELECT DISTINCT d.objid FROM pg_event_trigger_ddl_commands() AS d JOIN pg_class c ON c.oid = d.objid
      WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'r'
    LOOP
      PERFORM redshift_emulator.text_is_varchar(changed.objid);
    END LOOP;
  END IF;
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

-- CREATE OR REPLACE VIEW: Redshift takes a new query only if it has the identical set of columns; PostgreSQL takes more at the end.
CREATE FUNCTION redshift_emulator.columns_of(relation oid) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT string_agg(format('%s %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
   FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped $$;

CREATE FUNCTION redshift_emulator.replace_view(wanted text, wanted_query text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  before text := redshift_emulator.columns_of(to_regclass(wanted));
BEGIN
  IF EXISTS (SELECT FROM redshift_emulator.late_views WHERE view = to_regclass(wanted)) THEN
    RAISE EXCEPTION 'cannot replace a late-binding view with a view that binds its columns';
  END IF;
  EXECUTE format('CREATE OR REPLACE VIEW %s AS %s', wanted, wanted_query);
  IF before <> redshift_emulator.columns_of(to_regclass(wanted)) THEN
    RAISE EXCEPTION 'cannot change the columns of view %: a view can only be replaced by one with the identical set of columns', wanted;
  END IF;
END $$;

-- Views WITH NO SCHEMA BINDING: the tables below do not know of them, and they are bound anew when a statement names them after a
-- table below has changed. `bound` says what the tables were when a view was bound.
CREATE TABLE redshift_emulator.late_views (
  view oid PRIMARY KEY, name text NOT NULL, query text NOT NULL, relations oid[] NOT NULL, bound text NOT NULL);

CREATE FUNCTION redshift_emulator.bound_to(relations oid[]) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(string_agg(coalesce(redshift_emulator.columns_of(r), 'gone'), '; ' ORDER BY r), '') FROM unnest(relations) AS r $$;

-- `binding`: a statement wants to read it, so all below has to be there. A view can be made before its tables are: until then a view of
-- nothing has its name.
CREATE FUNCTION redshift_emulator.make_late_view(wanted text, wanted_query text, replace boolean, binding boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET allow_system_table_mods = on AS $$
DECLARE
  there oid := to_regclass(wanted);
  below oid[];
  bound_to_now text;
BEGIN
  IF there IS NOT NULL AND NOT replace THEN
    RAISE EXCEPTION 'relation "%" already exists', wanted;
  ELSIF there IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM redshift_emulator.late_views WHERE view = there) THEN
      RAISE EXCEPTION 'cannot replace a view that binds its columns with a late-binding view: %', wanted;
    END IF;
    EXECUTE format('DROP VIEW %s', wanted);
  END IF;
  BEGIN
    EXECUTE format('CREATE VIEW %s AS %s', wanted, wanted_query);
  EXCEPTION WHEN undefined_table OR undefined_column OR undefined_function OR invalid_schema_name THEN
    IF binding THEN
      RAISE;
    END IF;
    EXECUTE format('CREATE VIEW %s AS SELECT', wanted);
    bound_to_now := 'nothing';
  END;
  there := to_regclass(wanted);
  WITH cut AS (
    DELETE FROM pg_depend WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid <> there
      AND objid IN (SELECT oid FROM pg_rewrite WHERE ev_class = there)
    RETURNING refobjid
  )
  SELECT coalesce(array_agg(DISTINCT refobjid), '{}') INTO below FROM cut;
  DELETE FROM redshift_emulator.late_views AS old WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = old.view);
  INSERT INTO redshift_emulator.late_views
  VALUES (there, wanted, wanted_query, below, coalesce(bound_to_now, redshift_emulator.bound_to(below)));
END $$;

CREATE FUNCTION redshift_emulator.bind_late_views(statement text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  late record;
BEGIN
  FOR late IN
    SELECT v.name, v.query FROM redshift_emulator.late_views v JOIN pg_class c ON c.oid = v.view
    -- As a whole name: `hits` is none of `hits__parts`.
    WHERE statement ~ ('(^|[^[:alnum:]_])' || regexp_replace(c.relname, '([^[:alnum:]_])', '\\\1', 'g') || '($|[^[:alnum:]_])')
      AND v.bound <> redshift_emulator.bound_to(v.relations)
  LOOP
    PERFORM redshift_emulator.make_late_view(late.name, late.query, true, true);
  END LOOP;
END $$;

-- Decimals have at most 38 digits, "which apply to both intermediate and final result sets" (DG, "Numeric computations"): those before
-- the point and the scale together, and the scale is at most 37. A quotient keeps at least 4 digits after the point, and PostgreSQL's more.
CREATE FUNCTION redshift_emulator.within_38(value numeric, scale integer, what text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF pg_catalog.abs(value) >= pg_catalog.power(10::numeric, (38 - least(scale, 37))::numeric) THEN
    RAISE EXCEPTION 'Numeric data overflow (%)', what USING ERRCODE = 'numeric_value_out_of_range';
  END IF;
  RETURN value;
END $$;
CREATE FUNCTION redshift_emulator.sum_of_two(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT redshift_emulator.within_38(pg_catalog.numeric_add(a, b), pg_catalog.scale(pg_catalog.numeric_add(a, b)), 'addition') $$;
CREATE FUNCTION redshift_emulator.difference(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT redshift_emulator.within_38(pg_catalog.numeric_sub(a, b), pg_catalog.scale(pg_catalog.numeric_sub(a, b)), 'subtraction') $$;
CREATE FUNCTION redshift_emulator.product(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT redshift_emulator.within_38(pg_catalog.numeric_mul(a, b), pg_catalog.scale(pg_catalog.numeric_mul(a, b)), 'multiplication') $$;
CREATE FUNCTION redshift_emulator.quotient(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT redshift_emulator.within_38(pg_catalog.numeric_div(a, b), 4, 'division') $$;
CREATE FUNCTION redshift_emulator.summed(value numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT redshift_emulator.within_38(value, pg_catalog.scale(value), 'addition') $$;
CREATE OPERATOR redshift_emulator.+ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = redshift_emulator.sum_of_two);
CREATE OPERATOR redshift_emulator.- (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = redshift_emulator.difference);
CREATE OPERATOR redshift_emulator.* (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = redshift_emulator.product);
CREATE OPERATOR redshift_emulator./ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = redshift_emulator.quotient);
CREATE AGGREGATE redshift_emulator.sum(numeric) (
  SFUNC = pg_catalog.numeric_add, STYPE = numeric, FINALFUNC = redshift_emulator.summed, COMBINEFUNC = pg_catalog.numeric_add, PARALLEL = SAFE);

-- What happened. Redshift's names, and a part of its columns.

-- `misread_timestamps`: COPY takes INT64 microseconds for nanoseconds, as old reports have it.
-- `database`: the name by which callers know this database.
CREATE TABLE redshift_emulator.settings (
  isolation_level integer NOT NULL, misread_timestamps boolean NOT NULL DEFAULT false, database text NOT NULL DEFAULT 'dev');
INSERT INTO redshift_emulator.settings VALUES (1);

-- Names of 64 to 127 bytes: what PostgreSQL has in their place, and what they are. See src/names.rs.
CREATE TABLE redshift_emulator.names (short text PRIMARY KEY, long text NOT NULL);
CREATE FUNCTION redshift_emulator.full_name(name name) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce((SELECT n.long FROM redshift_emulator.names n WHERE n.short = $1::text), $1::text) $$;

-- The definition of a late-binding view is what it was made with, whatever has become of its tables.
CREATE VIEW redshift_emulator.pg_views AS
  SELECT redshift_emulator.full_name(n.nspname) AS schemaname, redshift_emulator.full_name(c.relname) AS viewname,
         pg_get_userbyid(c.relowner) AS viewowner, coalesce(late.query, pg_get_viewdef(c.oid)) AS definition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN redshift_emulator.late_views late ON late.view = c.oid
  WHERE c.relkind = 'v' AND n.nspname <> 'redshift_emulator';

CREATE VIEW redshift_emulator.stv_db_isolation_level AS
  SELECT d.oid::bigint AS db_id, d.datname::text AS db_name,
         CASE s.isolation_level WHEN 1 THEN 'Snapshot Isolation' ELSE 'Serializable' END::text AS isolation_level_name,
         s.isolation_level
  FROM pg_database d, redshift_emulator.settings s WHERE d.datname = current_database();

CREATE VIEW redshift_emulator.svv_redshift_databases AS
  SELECT s.database::text AS database_name, 100 AS database_owner, 'local'::text AS database_type, NULL::text AS database_acl,
         NULL::text AS database_options, d.isolation_level_name AS database_isolation_level
  FROM redshift_emulator.settings s, redshift_emulator.stv_db_isolation_level d;

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
$$ SELECT CASE t.typname WHEN 'super' THEN 'super' WHEN 'bytea' THEN 'binary varying'
     WHEN 'text' THEN 'character varying(65535)'
     WHEN 'varchar' THEN 'character varying(' || coalesce(nullif(modifier, -1) - 4, 65535) || ')' ELSE format_type(kind, modifier) END
   FROM pg_type t WHERE t.oid = kind $$;

CREATE VIEW redshift_emulator.columns_of_tables AS
  SELECT redshift_emulator.full_name(n.nspname) AS schema_name, redshift_emulator.full_name(c.relname) AS table_name, c.oid AS table_id,
         redshift_emulator.full_name(a.attname) AS column_name,
         a.attnum::integer AS place, redshift_emulator.type_name(a.atttypid, a.atttypmod) AS type_name, a.attnotnull AS not_null,
         pg_get_expr(d.adbin, d.adrelid) AS column_default, c.relkind, t.typname::text AS postgres_type, a.atttypmod AS modifier
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm')
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'redshift_emulator')
    -- Redshift shows columns of late-binding views only in pg_get_late_binding_view_cols().
    AND c.oid NOT IN (SELECT view FROM redshift_emulator.late_views);

CREATE VIEW redshift_emulator.svv_columns AS
  SELECT current_database()::text AS table_catalog, schema_name AS table_schema, table_name, column_name,
         row_number() OVER (PARTITION BY table_id ORDER BY place)::integer AS ordinal_position, column_default,
         CASE WHEN not_null THEN 'NO' ELSE 'YES' END AS is_nullable,
         CASE postgres_type WHEN 'varchar' THEN 'character varying' WHEN 'text' THEN 'character varying' WHEN 'bpchar' THEN 'character' WHEN 'numeric' THEN 'numeric'
           ELSE type_name END AS data_type,
         CASE WHEN postgres_type IN ('varchar', 'bpchar') AND modifier > 4 THEN modifier - 4
           WHEN postgres_type IN ('text', 'varchar') THEN 65535 END AS character_maximum_length,
         CASE postgres_type WHEN 'numeric' THEN (modifier - 4) >> 16 WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64 END
           AS numeric_precision,
         CASE postgres_type WHEN 'numeric' THEN (modifier - 4) & 2047 WHEN 'int2' THEN 0 WHEN 'int4' THEN 0 WHEN 'int8' THEN 0 END
           AS numeric_scale
  FROM redshift_emulator.columns_of_tables;

CREATE VIEW redshift_emulator.svv_redshift_columns AS
  SELECT table_catalog AS database_name, table_schema AS schema_name, table_name, column_name, ordinal_position, data_type,
         column_default, is_nullable, 'none'::text AS encoding, false AS distkey, 0 AS sortkey
  FROM redshift_emulator.svv_columns;

CREATE VIEW redshift_emulator.pg_table_def AS
  SELECT schema_name AS schemaname, table_name AS tablename, column_name AS "column", type_name AS type, 'none'::text AS encoding,
         false AS distkey, 0 AS sortkey, not_null AS notnull
  FROM redshift_emulator.columns_of_tables WHERE relkind = 'r' AND schema_name = ANY (current_schemas(false));

CREATE VIEW redshift_emulator.svv_table_info AS
  SELECT current_database()::text AS database, redshift_emulator.full_name(n.nspname) AS schema, c.oid::bigint AS table_id,
         redshift_emulator.full_name(c.relname) AS "table",
         'AUTO(ALL)'::text AS diststyle, 'AUTO(SORTKEY)'::text AS sortkey1,
         greatest(pg_total_relation_size(c.oid) / 1048576, 1)::bigint AS size,
         greatest(c.reltuples, 0)::numeric(38, 0) AS tbl_rows, 0::numeric(5, 2) AS unsorted, 0::numeric(5, 2) AS stats_off
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_emulator') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!';

CREATE VIEW redshift_emulator.svv_tables AS
  SELECT table_catalog::text, redshift_emulator.full_name(table_schema) AS table_schema, redshift_emulator.full_name(table_name) AS table_name,
         table_type::text, NULL::text AS remarks
  FROM information_schema.tables WHERE table_schema <> 'redshift_emulator';

-- What SHOW brings.
CREATE FUNCTION redshift_emulator.is_database(name text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM redshift_emulator.settings WHERE database = name) THEN
    RAISE EXCEPTION 'database "%" does not exist', name;
  END IF;
  RETURN true;
END $$;

CREATE VIEW redshift_emulator.shown_schemas AS
  SELECT s.database::text AS database_name, redshift_emulator.full_name(n.nspname) AS schema_name, 100 AS schema_owner,
         'local'::text AS schema_type, NULL::text AS schema_acl, NULL::text AS source_database, NULL::text AS schema_option
  FROM pg_namespace n, redshift_emulator.settings s WHERE n.nspname <> 'redshift_emulator' AND n.nspname !~ '^pg_(toast|temp)';

CREATE VIEW redshift_emulator.shown_tables AS
  SELECT s.database::text AS database_name, t.table_schema AS schema_name, t.table_name,
         CASE t.table_type WHEN 'BASE TABLE' THEN 'TABLE' ELSE t.table_type END AS table_type, NULL::text AS table_acl, t.remarks
  FROM redshift_emulator.svv_tables t, redshift_emulator.settings s;

CREATE VIEW redshift_emulator.shown_columns AS
  SELECT s.database::text AS database_name, c.table_schema AS schema_name, c.table_name, c.column_name, c.ordinal_position,
         c.column_default, c.is_nullable, c.data_type, c.character_maximum_length, c.numeric_precision, c.numeric_scale,
         NULL::text AS remarks
  FROM redshift_emulator.svv_columns c, redshift_emulator.settings s;

GRANT SELECT ON ALL TABLES IN SCHEMA redshift_emulator TO PUBLIC;
