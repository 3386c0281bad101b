import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import { createConsole, type Verbosity } from '../../../src/process/console.ts';

/** A console on a stream that keeps what is written, and a log file that does the same. */
function open(verbosity: Verbosity, isTTY = false) {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const log = createConsole({
    stream: Object.assign(stream, { isTTY, getColorDepth: () => 8, hasColors: () => true }),
    verbosity,
    clock: () => 0,
  });
  const lines: unknown[][] = [];
  log.attach({ write: (...line) => lines.push(line) });
  return { log, lines, text: () => text };
}

function sayAll({ log }: ReturnType<typeof open>): void {
  log.step('a step', { fact: 1 });
  log.detail('a detail');
  log.trace('a trace');
  log.warn('a warning');
  log.error(new HoldfastError('NO_SPACE', 'the disk is full', { hint: 'Free space.' }));
}

describe('what people read', () => {
  it('never acts on the terminal, whatever a name or a server says', () => {
    const opened = open('normal');
    opened.log.warn('the table "a\x1b[2J" of\nanother line');
    expect(opened.text()).toBe('warning: the table "a\\u001b[2J" of\nanother line\n');
  });

  it('is steps, warnings and errors with what to do', () => {
    const opened = open('normal');
    sayAll(opened);
    expect(opened.text()).toBe(
      'a step\nwarning: a warning\nerror: the disk is full\nhint: Free space.\n',
    );
  });

  it('is less with --quiet and more with --verbose', () => {
    const quiet = open('quiet');
    sayAll(quiet);
    expect(quiet.text()).toBe('warning: a warning\nerror: the disk is full\nhint: Free space.\n');
    const verbose = open('verbose');
    sayAll(verbose);
    expect(verbose.text()).toContain('a step\na detail\nwarning: ');
    expect(verbose.text()).not.toContain('a trace');
  });

  it('has colours on a terminal only, and there on the mark, not on the message', () => {
    const opened = open('normal', true);
    sayAll(opened);
    expect(opened.text()).toContain('\x1b[33mwarning: \x1b[39ma warning\n');
    expect(opened.text()).toContain('\x1b[31merror: \x1b[39mthe disk is full\n');
    expect(opened.text()).toMatch(/^a step\n/);
  });

  it('begins with what a part of the run is about, marks and hints too', () => {
    const opened = open('normal');
    sayAll({ ...opened, log: opened.log.about('a\nb', {}) });
    const tag = '["a\\nb"] ';
    expect(opened.text()).toBe(
      ['a step', 'warning: a warning', 'error: the disk is full', 'hint: Free space.']
        .map((line) => `${tag}${line}\n`)
        .join(''),
    );
  });

  it('has no hint where there is none', () => {
    const opened = open('normal');
    opened.log.error(new HoldfastError('LOCKED', 'locked'));
    expect(opened.text()).toBe('error: locked\n');
  });

  it('shows no progress with --quiet', async () => {
    const opened = open('quiet', true);
    const progress = await opened.log.progress('dumping', 100);
    progress.add(50);
    progress.end();
    expect(opened.text()).toBe('');
    const shown = open('normal', true);
    (await shown.log.progress('dumping', 100)).end();
    expect(shown.text()).toContain('dumping');
  });
});

describe('what the log file gets', () => {
  it.each(['quiet', 'normal', 'verbose'] as const)('is everything, also when %s', (verbosity) => {
    const opened = open(verbosity);
    sayAll(opened);
    expect(opened.lines.map(([level, message]) => [level, message])).toEqual([
      ['info', 'a step'],
      ['info', 'a detail'],
      ['info', 'a trace'],
      ['warn', 'a warning'],
      ['error', 'the disk is full'],
    ]);
    expect(opened.lines[0]?.[2]).toEqual({ fact: 1 });
  });

  it('has the facts of the part of the run in every line, with or without a name', () => {
    const opened = open('normal');
    const log = opened.log.about(null, { database: 'app' });
    log.step('a step', { fact: 1 });
    log.trace('a trace');
    opened.log.step('of the whole run');
    expect(opened.lines.map(([, , facts]) => facts)).toEqual([
      { database: 'app', fact: 1 },
      { database: 'app' },
      {},
    ]);
    expect(opened.text()).toBe('a step\nof the whole run\n');
  });

  it('is for an error its code, status, facts and the cause with its stack', () => {
    const opened = open('normal');
    const cause = new Error('write ENOSPC');
    opened.log.error(new HoldfastError('NO_SPACE', 'full', { cause, details: { bytes: 7 } }));
    expect(opened.lines[0]?.[2]).toEqual({
      code: 'NO_SPACE',
      exit_status: 3,
      hint: undefined,
      details: { bytes: 7 },
      cause: cause.stack,
    });
  });
});
