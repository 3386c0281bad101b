/** What a role cannot read, found before a dump runs into it, with what mends it. */

import { HoldfastError } from '../core/errors.ts';
import { quoteLiteral, shownIdentifier } from '../core/quote.ts';
import { isExtensionMember, userSchemas } from './facts.ts';
import { pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** What kind of thing a role cannot read. */
export type MissingKind = 'table' | 'sequence' | 'schema' | 'row security' | 'large objects';

/** One thing that a role cannot read. */
export interface MissingPrivilege {
  readonly kind: MissingKind;
  /** The object as SQL, `"schema"."name"`; for large objects how many. */
  readonly object: string;
  /** The statement that mends it. */
  readonly mend: string;
}

/** What a role cannot read of a database; nothing, when it can be dumped. */
export interface ReadPrivileges {
  readonly role: string;
  readonly database: string;
  /** At most 100 of them. */
  readonly missing: readonly MissingPrivilege[];
}

const listedMax = 100;

interface MissingRow {
  readonly kind: Exclude<MissingKind, 'large objects'>;
  readonly schema: string;
  readonly name: string | null;
}

/**
 * pg_dump locks each table in ACCESS SHARE MODE and reads each sequence, and both want SELECT;
 * it sets row_security off, so a policy that would hide rows is an error. Of an extension's own
 * tables it reads those that the extension registered for it (pg_extension.extconfig).
 */
const missingQuery = `
  WITH relation AS (
    SELECT c.oid, c.relkind, n.oid AS schema_oid, n.nspname::text AS schema, c.relname::text AS name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE ${userSchemas} AND c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
       AND (NOT ${isExtensionMember('c.oid')}
            OR EXISTS (SELECT FROM pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
  ), missing AS (
    SELECT DISTINCT 'schema' AS kind, schema, NULL::text AS name
      FROM relation WHERE NOT has_schema_privilege(schema_oid, 'USAGE')
    UNION ALL
    SELECT 'table', schema, name
      FROM relation WHERE relkind <> 'S' AND NOT has_table_privilege(oid, 'SELECT')
    UNION ALL
    SELECT 'sequence', schema, name
      FROM relation WHERE relkind = 'S' AND NOT has_table_privilege(oid, 'SELECT')
    UNION ALL
    SELECT 'row security', schema, name
      FROM relation WHERE relkind <> 'S' AND has_table_privilege(oid, 'SELECT')
       AND row_security_active(oid)
  )
  SELECT kind, schema, name FROM missing ORDER BY kind, schema, name LIMIT ${listedMax}`;

/** Large objects have an ACL of their own. */
const largeObjectsQuery = `
  SELECT m.oid::text AS oid, count(*) OVER ()::int AS count
    FROM pg_largeobject_metadata AS m
   WHERE NOT pg_has_role(m.lomowner, 'USAGE')
     AND NOT EXISTS (
       SELECT FROM aclexplode(m.lomacl) AS a
        WHERE a.privilege_type = 'SELECT'
          AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
   ORDER BY m.oid LIMIT ${listedMax}`;

/** So many large objects are named in one GRANT; more are granted by a loop on the server. */
const namedObjectsMax = 10;

/** What lets a role read large objects: by their numbers, or all of them, one by one. */
function largeObjectsMend(oids: readonly string[], role: string): string {
  const to = shownIdentifier(role);
  if (oids.length <= namedObjectsMax)
    return `GRANT SELECT ON LARGE OBJECT ${oids.join(', ')} TO ${to};`;
  const grant = quoteLiteral(`GRANT SELECT ON LARGE OBJECT %s TO ${to}`);
  const loop =
    'DECLARE each oid; BEGIN FOR each IN SELECT oid FROM pg_catalog.pg_largeobject_metadata ' +
    `LOOP EXECUTE pg_catalog.replace(${grant}, '%s', each::text); END LOOP; END`;
  return `DO ${quoteLiteral(loop)};`;
}

function describeMissing(row: MissingRow, role: string): MissingPrivilege {
  const schema = shownIdentifier(row.schema);
  const object = row.name === null ? schema : `${schema}.${shownIdentifier(row.name)}`;
  const to = shownIdentifier(role);
  const mends: Record<MissingRow['kind'], string> = {
    schema: `GRANT USAGE ON SCHEMA ${object} TO ${to};`,
    table: `GRANT SELECT ON TABLE ${object} TO ${to};`,
    sequence: `GRANT SELECT ON SEQUENCE ${object} TO ${to};`,
    'row security': `ALTER ROLE ${to} BYPASSRLS;`,
  };
  return { kind: row.kind, object, mend: mends[row.kind] };
}

/** Finds what the client's role cannot read of the database that it is connected to. */
export async function findMissingReadPrivileges(client: Queryable): Promise<ReadPrivileges> {
  await pinSearchPath(client);
  const context = { doing: 'looking what the role may read' };
  const { role, database, superuser } = await queryOne<{
    role: string;
    database: string;
    superuser: boolean;
  }>(
    client,
    `SELECT current_user::text AS role, current_database()::text AS database, rolsuper AS superuser
       FROM pg_roles WHERE rolname = current_user`,
    [],
    context,
  );
  if (superuser) return { role, database, missing: [] };
  const rows = await queryRows<MissingRow>(client, missingQuery, [], context);
  const missing = rows.map((row) => describeMissing(row, role));
  const large = await queryRows<{ oid: string; count: number }>(
    client,
    largeObjectsQuery,
    [],
    context,
  );
  const [first] = large;
  if (first !== undefined) {
    const mend = largeObjectsMend(
      large.map(({ oid }) => oid),
      role,
    );
    missing.push({ kind: 'large objects', object: `${first.count} of them`, mend });
  }
  return { role, database, missing };
}

/** How many objects an error names before it says how many more there are. */
const namedMax = 3;

function describeHint(role: string, missing: readonly MissingPrivilege[]): string {
  const to = shownIdentifier(role);
  const needs: string[] = [];
  const other = missing.filter(
    (each) => each.kind === 'row security' || each.kind === 'large objects',
  );
  const [only] = missing;
  if (missing.length === 1 && only !== undefined) needs.push(only.mend);
  else {
    if (missing.length > other.length) needs.push(`GRANT pg_read_all_data TO ${to};`);
    needs.push(...new Set(other.map((each) => each.mend)));
  }
  return `As a superuser: ${needs.join(' ')}`;
}

/** The error for a role that cannot read everything, or `null` when it can. */
function readPrivilegesError(privileges: ReadPrivileges): HoldfastError | null {
  const { role, database, missing } = privileges;
  if (missing.length === 0) return null;
  const named = missing.slice(0, namedMax).map(({ kind, object }) => `${kind} ${object}`);
  const more = missing.length - named.length;
  const rest =
    more > 0 ? `, and ${more}${missing.length >= listedMax ? ' or more' : ''} others` : '';
  return new HoldfastError(
    'DATABASE_PRIVILEGE',
    `role ${JSON.stringify(role)} may not read everything in database ` +
      `${JSON.stringify(database)}: ${named.join(', ')}${rest}`,
    { hint: describeHint(role, missing), details: { missing } },
  );
}

/**
 * Fails early, before a dump has begun, when the role cannot read everything.
 *
 * @throws HoldfastError DATABASE_PRIVILEGE with the GRANT that mends it
 */
export async function requireReadPrivileges(client: Queryable): Promise<void> {
  const error = readPrivilegesError(await findMissingReadPrivileges(client));
  if (error !== null) throw error;
}
