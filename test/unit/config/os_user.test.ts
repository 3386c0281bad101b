import { userInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { systemHome, systemUserName } from '../../../src/config/os_user.ts';

function nameless(): never {
  throw new Error('A system error occurred: uv_os_get_passwd returned ENOENT (no such file)');
}

describe('the user who runs this', () => {
  it('has the name and the home that the system tells', () => {
    expect(systemHome()).toBe(userInfo().homedir);
    expect(systemUserName()).toBe(userInfo().username);
  });

  it('may have none: the home is / then, and a role has to be named', () => {
    expect(systemHome(nameless)).toBe('/');
    expect(() => systemUserName(nameless)).toThrow(
      `no role is named and this user (uid ${process.getuid?.()}) has no name`,
    );
  });
});
