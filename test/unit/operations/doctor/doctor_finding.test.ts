import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../../src/core/errors.ts';
import type { Context } from '../../../../src/operations/context.ts';
import {
  attempt,
  deadline,
  failureFinding,
  finding,
  untilAborted,
} from '../../../../src/operations/doctor/doctor_finding.ts';

const about = { check: 'server', subject: 'db' } as const;

/** Only the signal of a context counts here. */
function contextWith(signal: AbortSignal): Context {
  return { signal } as Context;
}

describe('a check that fails', () => {
  it('is a finding with its hint', async () => {
    const context = contextWith(new AbortController().signal);
    const error = new HoldfastError('DATABASE_REFUSED', 'no', { hint: 'Do this.' });
    const found = await attempt(context, about, () => Promise.reject(error));
    expect(found).toEqual([{ ...about, level: 'problem', message: 'no', mend: 'Do this.' }]);
  });

  it('because of a setting is a finding about the settings', () => {
    const error = new HoldfastError('CONFIG_INVALID', 'wrong');
    expect(failureFinding(about, error)).toMatchObject({ check: 'settings', mend: null });
  });

  it('because the run is to end, ends it', async () => {
    const reason = new HoldfastError('INTERRUPTED', 'interrupted by SIGINT');
    const context = contextWith(AbortSignal.abort(reason));
    const work = () => Promise.reject(new Error('the connection was cut'));
    await expect(attempt(context, about, work)).rejects.toBe(reason);
  });

  it('never tells a password', () => {
    const found = finding(
      { check: 'settings', subject: 'postgresql://a:s3cret@h/d' },
      'problem',
      'postgresql://a:s3cret@h/d is wrong',
      'psql postgresql://a:s3cret@h/d',
    );
    expect(JSON.stringify(found)).not.toContain('s3cret');
  });
});

describe('work that never ends', () => {
  it('is given up when the time is over, with what was being done', async () => {
    const context = contextWith(new AbortController().signal);
    const signal = deadline(context, 0.01, 'asking');
    // The timer alone keeps nothing alive: what is waited for does.
    const alive = setInterval(() => undefined, 1000);
    const work = untilAborted(new Promise(() => undefined), signal);
    await expect(work).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: 'asking took more than 0.01 s',
    });
    clearInterval(alive);
  });

  it('is given up at once when the run is to end already', async () => {
    const reason = new HoldfastError('INTERRUPTED', 'interrupted');
    const signal = deadline(contextWith(AbortSignal.abort(reason)), 60, 'asking');
    await expect(untilAborted(new Promise(() => undefined), signal)).rejects.toBe(reason);
  });

  it('that ends in time gives its result', async () => {
    const signal = deadline(contextWith(new AbortController().signal), 60, 'asking');
    expect(await untilAborted(Promise.resolve(7), signal)).toBe(7);
  });
});
