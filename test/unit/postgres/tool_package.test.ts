import { describe, expect, it } from 'vitest';
import { describePackage } from '../../../src/postgres/tool_package.ts';

const debian =
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n';
const ubuntu = 'ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="noble"\n';
const rocky = 'ID="rocky"\nID_LIKE="rhel centos fedora"\n';

describe('the package that brings the programs', () => {
  it.each([
    [debian, 15, 'client', 'apt-get install postgresql-client-15.', false],
    [debian, 18, 'client', 'apt-get install postgresql-client-18.', true],
    [ubuntu, 16, 'server', 'apt-get install postgresql-16.', false],
    [ubuntu, null, 'client', 'apt-get install postgresql-client.', false],
    [rocky, 18, 'client', 'dnf install postgresql18.', true],
    [rocky, 18, 'server', 'dnf install postgresql18-server.', true],
  ] as const)('%j, version %s, %s', (os, major, kind, command, ownRepository) => {
    const hint = describePackage({ os, platform: 'linux', kind, major });
    expect(hint).toContain(command);
    expect(hint.includes('own package repository')).toBe(ownRepository);
  });

  it('comes from Homebrew on macOS', () => {
    const hint = describePackage({ os: '', platform: 'darwin', kind: 'client', major: 18 });
    expect(hint).toContain('brew install postgresql@18');
  });

  it('has no name on a system that is not known', () => {
    const hint = describePackage({ os: 'ID=alpine', platform: 'linux', kind: 'client', major: 18 });
    expect(hint).toBe("Install PostgreSQL 18's client programs, or put their folder on PATH.");
  });
});
