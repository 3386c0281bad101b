import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { answerFor, confirm } from '../../../src/cli/confirm.ts';
import { HoldfastError } from '../../../src/core/errors.ts';

/** A question on a terminal that a test types on; `terminal: false` is a pipe. */
function ask(options: { answer?: string; terminal?: boolean; signal?: AbortSignal } = {}) {
  const stdin = Object.assign(new PassThrough(), { isTTY: options.terminal ?? true });
  const stderr = new PassThrough();
  const done = confirm({
    plan: ['1. read the backup', '2. swap'],
    question: 'Replace "app"?',
    answer: options.answer ?? 'yes',
    flag: '--force',
    world: { stdin, stderr, signal: options.signal ?? new AbortController().signal },
  });
  const outcome = done.then(
    () => null,
    (error: HoldfastError) => error,
  );
  return {
    stdin,
    outcome,
    async said() {
      await outcome;
      stderr.end();
      return text(stderr);
    },
  };
}

describe('what has to be typed', () => {
  it.each([
    ['production', 'shop'],
    ['Production', 'shop'],
    [' PROD\t', 'shop'],
    ['staging', 'yes'],
    ['preproduction', 'yes'],
    [null, 'yes'],
  ])('with the environment %j is %j', (environment, answer) => {
    expect(answerFor(environment, 'shop')).toBe(answer);
  });
});

describe('a question before something is changed', () => {
  it('shows the plan, then what has to be typed, and goes on with that', async () => {
    const asked = ask();
    asked.stdin.write('yes\n');
    expect(await asked.outcome).toBeNull();
    expect(await asked.said()).toBe(
      '1. read the backup\n2. swap\nReplace "app"? Type yes to go ahead: ',
    );
  });

  it.each(['y', 'YES', 'no', '', ' yes', 'yes '])('stops at the answer %j', async (typed) => {
    const asked = ask();
    asked.stdin.write(`${typed}\n`);
    const error = await asked.outcome;
    expect(error).toMatchObject({ code: 'CONFIRMATION_NEEDED', status: 2 });
    expect(error?.message).toBe(`${JSON.stringify(typed)} was typed: stopped`);
    expect(error?.hint).toContain('--force');
  });

  it('wants the name of a production database, letter for letter', async () => {
    const asked = ask({ answer: 'mastertrade' });
    asked.stdin.write('yes\n');
    expect(await asked.outcome).toMatchObject({ code: 'CONFIRMATION_NEEDED' });
    const again = ask({ answer: 'mastertrade' });
    again.stdin.write('mastertrade\n');
    expect(await again.outcome).toBeNull();
  });

  it('without a terminal shows the plan and stops, whatever stands in the pipe', async () => {
    const asked = ask({ terminal: false });
    asked.stdin.end('yes\n');
    const error = await asked.outcome;
    expect(error).toMatchObject({ code: 'CONFIRMATION_NEEDED' });
    expect(error?.message).toBe('there is no terminal to ask on');
    expect(error?.hint).toContain('--force');
    expect(await asked.said()).toBe('1. read the backup\n2. swap\n');
  });

  it('ends with the reason of a signal that comes instead of an answer', async () => {
    const controller = new AbortController();
    const asked = ask({ signal: controller.signal });
    const reason = new HoldfastError('INTERRUPTED', 'interrupted by SIGTERM');
    controller.abort(reason);
    expect(await asked.outcome).toBe(reason);
  });

  it('takes the end of the input for a no', async () => {
    const asked = ask();
    asked.stdin.end();
    expect(await asked.outcome).toMatchObject({ code: 'CONFIRMATION_NEEDED' });
  });
});
