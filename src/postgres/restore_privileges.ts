/** What a role lacks for a restore, found on a quiet day, with what mends it. */

import { shownIdentifier } from '../core/quote.ts';
import { isExtensionMember, userSchemas } from './facts.ts';
import { pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** One thing that a restore as this role would stop at. */
export interface RestoreLack {
  /** What the role may not do, in words. */
  readonly fact: string;
  /** The statement that mends it, or what to do instead. */
  readonly mend: string;
}

/** What a role may do, for a restore. */
export interface RestorePrivileges {
  readonly role: string;
  readonly lacks: readonly RestoreLack[];
  /** Whether pg_dumpall gets the passwords of the roles: it reads pg_authid. */
  readonly readsPasswords: boolean;
}

interface RoleRow {
  readonly role: string;
  readonly superuser: boolean;
  readonly createdb: boolean;
  readonly createrole: boolean;
  readonly signals: boolean;
  readonly reads_passwords: boolean;
  readonly owner: string;
  readonly owner_superuser: boolean;
  readonly owns: boolean;
}

/**
 * Renaming a database takes CREATEDB and the rights of its owner, ending its sessions those of
 * pg_signal_backend (manual, "ALTER DATABASE", "Server Signaling Functions").
 */
const roleQuery = `
  SELECT r.rolname::text AS role, r.rolsuper AS superuser, r.rolcreatedb AS createdb,
         r.rolcreaterole AS createrole, pg_has_role('pg_signal_backend', 'USAGE') AS signals,
         has_table_privilege('pg_authid', 'SELECT') AS reads_passwords,
         o.rolname::text AS owner, o.rolsuper AS owner_superuser,
         pg_has_role(d.datdba, 'USAGE') AS owns
    FROM pg_roles AS r, pg_database AS d JOIN pg_roles AS o ON o.oid = d.datdba
   WHERE r.rolname = current_user AND d.datname = current_database()`;

/**
 * The owners of what lies in the database. The first superuser's own things are in no pg_shdepend
 * (manual, "pg_shdepend"), so relations are asked themselves.
 */
const ownersQuery = `
  WITH owner AS (
    SELECT s.refobjid AS oid FROM pg_shdepend AS s JOIN pg_database AS d ON d.oid = s.dbid
     WHERE d.datname = current_database() AND s.refclassid = 'pg_authid'::regclass
       AND s.deptype = 'o'
    UNION
    SELECT c.relowner FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE ${userSchemas} AND NOT ${isExtensionMember('c.oid')}
       AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  )
  SELECT r.rolname::text AS name, r.rolsuper AS superuser
    FROM owner AS o JOIN pg_roles AS r ON r.oid = o.oid
   WHERE NOT (pg_has_role(r.oid, 'USAGE') AND pg_has_role(r.oid, 'MEMBER'))
   ORDER BY 1 LIMIT 100`;

/** What only a superuser can create again. */
const superuserQuery = `
  SELECT 'the extension ' || quote_ident(e.extname) AS what
    FROM pg_extension AS e
    JOIN pg_available_extension_versions AS v ON v.name = e.extname AND v.version = e.extversion
   WHERE v.superuser AND NOT v.trusted
  UNION ALL
  SELECT 'the event trigger ' || quote_ident(t.evtname) FROM pg_event_trigger AS t
   WHERE NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = t.oid AND d.deptype = 'e'
                        AND d.classid = 'pg_event_trigger'::regclass)
   ORDER BY 1 LIMIT 10`;

function lacksOfRole(row: RoleRow): RestoreLack[] {
  const role = shownIdentifier(row.role);
  const lacks: RestoreLack[] = [];
  if (!row.createdb) {
    lacks.push({ fact: 'may not create databases', mend: `ALTER ROLE ${role} CREATEDB;` });
  }
  if (!row.signals) {
    lacks.push({
      fact: 'may not end the sessions of others, which the swap does',
      mend: `GRANT pg_signal_backend TO ${role};`,
    });
  }
  if (!row.createrole) {
    lacks.push({
      fact: 'may not create the roles that are missing on a new server',
      mend: `ALTER ROLE ${role} CREATEROLE;`,
    });
  }
  return lacks;
}

/** The rights of another role: by membership, but never those of a superuser. */
function lackOfOwner(what: string, owner: string, superuser: boolean, role: string): RestoreLack {
  const [name, to] = [shownIdentifier(owner), shownIdentifier(role)];
  return {
    fact: `is no member of ${name}, who owns ${what}`,
    mend: superuser
      ? `Restore as a superuser: ${name} is one (--username, PGUSER).`
      : `GRANT ${name} TO ${to};`,
  };
}

/** Reads what the client's role lacks to restore the database that it is connected to. */
export async function readRestorePrivileges(client: Queryable): Promise<RestorePrivileges> {
  await pinSearchPath(client);
  const context = { doing: 'looking what the role may do in a restore' };
  const row = await queryOne<RoleRow>(client, roleQuery, [], context);
  const { role, superuser, reads_passwords: readsPasswords } = row;
  if (superuser) return { role, lacks: [], readsPasswords: true };
  const lacks = lacksOfRole(row);
  if (!row.owns) lacks.push(lackOfOwner('the database', row.owner, row.owner_superuser, role));
  const owners = await queryRows<{ name: string; superuser: boolean }>(
    client,
    ownersQuery,
    [],
    context,
  );
  for (const owner of owners) {
    if (owner.name === row.owner && !row.owns) continue;
    lacks.push(lackOfOwner('objects in it', owner.name, owner.superuser, role));
  }
  const special = await queryRows<{ what: string }>(client, superuserQuery, [], context);
  if (special.length > 0) {
    lacks.push({
      fact: `may not create what takes a superuser: ${special.map(({ what }) => what).join(', ')}`,
      mend: 'Restore as a superuser (--username, PGUSER).',
    });
  }
  return { role, lacks, readsPasswords };
}
