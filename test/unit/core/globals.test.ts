import { describe, expect, it } from 'vitest';
import { planGlobals, splitGlobals } from '../../../src/core/globals.ts';

const dump = `--
-- PostgreSQL database cluster dump
--

\\restrict grOvNSFeWBXzK5GXkOto2rB

SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';

CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a==$b=:c=' VALID UNTIL 'infinity';
COMMENT ON ROLE app IS E'it''s; \\\\ a comment
-- with lines';
CREATE ROLE grp;
ALTER ROLE grp WITH NOLOGIN;
SECURITY LABEL FOR selinux ON ROLE grp IS 'x;y';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
CREATE ROLE "we""ird; role
two";
ALTER ROLE "we""ird; role
two" WITH LOGIN;

--
-- User Config "app"
--
ALTER ROLE app SET search_path TO 'a;b', E'c\\\\';
ALTER ROLE app IN DATABASE mastertrade SET work_mem TO '5MB';

GRANT grp TO app WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
GRANT grp TO "we""ird; role
two" WITH INHERIT TRUE GRANTED BY app;
GRANT pg_read_all_data TO grp WITH INHERIT TRUE GRANTED BY postgres;
GRANT grp TO postgres GRANTED BY app;
GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO grp WITH GRANT OPTION;

CREATE TABLESPACE "f ast" OWNER app LOCATION '/srv/fast';
CREATE TABLESPACE slow OWNER app LOCATION '/srv/slow';
GRANT CREATE ON TABLESPACE slow TO app;

\\unrestrict grOvNSFeWBXzK5GXkOto2rB
`;

const weird = 'we"ird; role\ntwo';
const predefined = ['postgres', 'pg_read_all_data'];
const plan = (...roles: string[]) =>
  planGlobals(dump, {
    roles: new Set([...predefined, ...roles]),
    tablespaces: new Set(['pg_default', 'slow']),
  });

describe('the roles of a backup on a server', () => {
  it('are all created in an empty cluster, with what belongs to them', () => {
    const { statements, createdRoles, keptRoles } = plan();
    expect(createdRoles).toEqual(['app', 'grp', weird]);
    expect(keptRoles).toEqual(['postgres']);
    expect(statements.map(({ kind, role }) => `${kind} ${role}`)).toEqual([
      'role app',
      'attributes app',
      'comment app',
      'role grp',
      'attributes grp',
      'security_label grp',
      `role ${weird}`,
      `attributes ${weird}`,
      'setting app',
      'membership app',
      `membership ${weird}`,
      'membership grp',
      'parameter_privilege grp',
    ]);
    expect(statements.map(({ sql }) => sql)).toContain(
      "COMMENT ON ROLE app IS E'it''s; \\\\ a comment\n-- with lines'",
    );
  });

  it('keep their grantor only where it was created too and has its admin option', () => {
    const grants = plan().statements.filter(({ kind }) => kind === 'membership');
    expect(grants.map(({ sql }) => sql)).toEqual([
      'GRANT grp TO app WITH ADMIN OPTION, INHERIT TRUE',
      'GRANT grp TO "we""ird; role\ntwo" WITH INHERIT TRUE GRANTED BY app',
      'GRANT pg_read_all_data TO grp WITH INHERIT TRUE',
    ]);
    const kept = plan('app').statements.filter(({ kind }) => kind === 'membership');
    expect(kept.map(({ sql }) => sql)).toEqual([
      'GRANT grp TO "we""ird; role\ntwo" WITH INHERIT TRUE',
      'GRANT pg_read_all_data TO grp WITH INHERIT TRUE',
    ]);
  });

  it('are left alone where they exist: nothing alters, comments on or grants to them', () => {
    const { statements, createdRoles, keptRoles } = plan('app', weird);
    expect(createdRoles).toEqual(['grp']);
    expect(keptRoles).toEqual(['app', 'postgres', weird]);
    expect(new Set(statements.map(({ role }) => role))).toEqual(new Set(['grp']));
  });

  it('become no member of a group that does not exist, and that is noted', () => {
    const { statements, notes } = planGlobals('CREATE ROLE a;\nGRANT gone TO a;', {
      roles: new Set(),
      tablespaces: new Set(),
    });
    expect(statements).toHaveLength(1);
    expect(notes).toEqual(['"a" is not made a member of "gone", a role that does not exist']);
  });

  it('report the tablespaces that are missing and create none', () => {
    expect(plan().missingTablespaces).toEqual(['f ast']);
    expect(plan().statements.some(({ sql }) => sql.includes('TABLESPACE'))).toBe(false);
  });
});

describe('the text of pg_dumpall', () => {
  it('is refused when it ends inside a statement, a string or a name', () => {
    for (const cut of ['CREATE ROLE a', "CREATE ROLE a;\nALTER ROLE a PASSWORD 'x;", 'DROP "a;']) {
      expect(() => splitGlobals(cut)).toThrow('end inside a statement');
    }
  });

  it('may be cut only between statements without being noticed', () => {
    const whole = splitGlobals(dump);
    for (let end = 0; end < dump.length; end += 1) {
      let found: string[];
      try {
        found = splitGlobals(dump.slice(0, end));
      } catch {
        continue;
      }
      expect(found).toEqual(whole.slice(0, found.length));
    }
  });

  it('refuses a meta-command inside a statement', () => {
    expect(() => splitGlobals('CREATE ROLE a \\! touch x\n;')).toThrow('end inside a statement');
  });
});
