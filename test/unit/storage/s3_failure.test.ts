import { describe, expect, it } from 'vitest';
import { judge, readFailure } from '../../../src/storage/s3_failure.ts';

const answer = (status: number, name: string, headers = {}) => ({
  name,
  message: name,
  $metadata: { httpStatusCode: status },
  $response: { headers },
});

describe('a request that failed', () => {
  it.each([
    [500, 'InternalError', true],
    [502, 'BadGateway', true],
    [503, 'SlowDown', true],
    [429, 'TooManyRequests', true],
    [400, 'RequestTimeout', true],
    [400, 'BadDigest', true],
    [409, 'ConditionalRequestConflict', true],
    [200, 'SyntaxError', true],
    [301, 'PermanentRedirect', false],
    [400, 'InvalidArgument', false],
    [403, 'AccessDenied', false],
    [404, 'NoSuchKey', false],
    [412, 'PreconditionFailed', false],
    [416, 'InvalidRange', false],
    [501, 'NotImplemented', false],
  ])('%d %s is sent again: %s', (status, code, isTransient) => {
    expect(judge(answer(status, code), 1, true).isTransient).toBe(isTransient);
  });

  it.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN'])('%s is sent again', (code) => {
    expect(judge(Object.assign(new Error(code), { code }), 1, false).isTransient).toBe(true);
  });

  it('is not sent for long to an address that nobody has ever answered at', () => {
    const error = Object.assign(new Error('nobody'), { code: 'ECONNREFUSED' });
    const tries = (hasAnswered: boolean) =>
      [1, 2, 3, 7].map((attempt) => judge(error, attempt, hasAnswered).isTransient);
    expect(tries(true)).toEqual([true, true, true, true]);
    expect(tries(false)).toEqual([true, true, false, false]);
  });

  it('is sent again when the server says so, within a minute', () => {
    const pauseMs = (value: string) =>
      judge(answer(503, 'SlowDown', { 'retry-after': value }), 1, true).retryAfterMs;
    expect(pauseMs('7')).toBe(7000);
    expect(pauseMs('86400')).toBe(60_000);
    expect(pauseMs('Sat, 21 Nov 2026 19:00:00 GMT')).toBeNull();
  });

  it('tells the first of several addresses that did not answer', () => {
    const errors = [Object.assign(new Error('connect ECONNREFUSED ::1'), { code: 'ECONNREFUSED' })];
    expect(readFailure(Object.assign(new Error(''), { errors }))).toMatchObject({
      code: 'ECONNREFUSED',
      message: 'connect ECONNREFUSED ::1',
      status: null,
    });
  });
});
