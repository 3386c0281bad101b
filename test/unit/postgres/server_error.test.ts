import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  describeServerError,
  isConnectionLost,
  sqlState,
} from '../../../src/postgres/server_error.ts';

const serverError = (code: string, message: string, more: object = {}) =>
  Object.assign(new Error(message), { code, ...more });

describe('an error of the server', () => {
  it.each([
    ['42501', 'permission denied for table orders', 'DATABASE_PRIVILEGE'],
    ['3D000', 'database "x" does not exist', 'DATABASE_NOT_FOUND'],
    ['57P01', 'terminating connection due to administrator command', 'DATABASE_UNREACHABLE'],
    ['57P02', 'terminating connection because of crash', 'DATABASE_UNREACHABLE'],
    ['08006', 'connection failure', 'DATABASE_UNREACHABLE'],
    ['ECONNRESET', 'read ECONNRESET', 'DATABASE_UNREACHABLE'],
    ['EPIPE', 'write EPIPE', 'DATABASE_UNREACHABLE'],
    ['28P01', 'password authentication failed', 'DATABASE_AUTH'],
    ['53100', 'could not extend file', 'NO_SPACE'],
    ['42601', 'syntax error', 'DATABASE_REFUSED'],
  ])('%s %s', (code, message, expected) => {
    expect(describeServerError(serverError(code, message)).code).toBe(expected);
  });

  it("keeps the server's words, its detail and its hint, and says what was being done", () => {
    const thrown = serverError('55006', 'database "app" is being accessed by other users', {
      detail: 'There is 1 other session using the database.',
      hint: 'Close it.',
    });
    const error = describeServerError(thrown, { doing: 'renaming', database: 'app' });
    expect(error.message).toBe(
      'database "app": renaming: database "app" is being accessed by other users ' +
        '(There is 1 other session using the database.)',
    );
    expect(error.hint).toBe('Close it.');
    expect(error.cause).toBe(thrown);
    expect(sqlState(error)).toBe('55006');
  });

  it('names the GRANT, quoted', () => {
    const thrown = serverError('42501', 'permission denied for materialized view my "mv"');
    const error = describeServerError(thrown, { role: 'r"1' });
    expect(error.hint).toContain('GRANT SELECT ON TABLE "my ""mv""" TO "r""1";');
  });

  it('that tells no object gets no GRANT', () => {
    const error = describeServerError(serverError('42501', 'must be owner of database x'));
    expect(error.hint).toContain('connect as another role');
  });

  it('knows a lost connection, also without a SQLSTATE', () => {
    const lost = new Error('Connection terminated unexpectedly');
    expect(isConnectionLost(lost)).toBe(true);
    expect(describeServerError(lost).code).toBe('DATABASE_UNREACHABLE');
    expect(isConnectionLost(serverError('42601', 'syntax error'))).toBe(false);
    expect(isConnectionLost('text')).toBe(false);
    expect(sqlState(serverError('EPIPE', 'x'))).toBeNull();
  });

  it('leaves our own errors as they are, and tells an interruption', () => {
    const ours = new HoldfastError('LOCKED', 'locked');
    expect(describeServerError(ours)).toBe(ours);
    expect(describeServerError(new DOMException('stop', 'AbortError')).code).toBe('INTERRUPTED');
    expect(describeServerError('odd').message).toBe('odd');
  });
});
