import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepository } from '../../../src/catalog/repository.ts';
import type { Command, Invocation } from '../../../src/cli/command.ts';
import { executeCommand } from '../../../src/cli/execute.ts';
import { HoldfastError } from '../../../src/core/errors.ts';

let folder: string;
let repository: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-execute-'));
  repository = join(folder, 'repository');
});
afterEach(() => rm(folder, { recursive: true }));

/** A command of two lines, to look at the frame around it. */
function commandThat(run: (invocation: Invocation) => Promise<unknown> | unknown): Command {
  return {
    name: 'sample.ts',
    operands: '[name…]',
    summary: 'Does what the test wants.',
    settings: [],
    examples: [],
    repository: 'create',
    run: async (invocation) => {
      await run(invocation);
      return { status: 0, json: { done: true }, text: 'the answer\n' };
    },
  };
}

async function execute(command: Command, argv: readonly string[], signal?: AbortSignal) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const status = await executeCommand(command, {
    argv,
    environment: { PATH: process.env.PATH, BACKUP_DIR: repository },
    cwd: folder,
    stdin,
    stdout,
    stderr,
    signal: signal ?? new AbortController().signal,
  });
  stdout.end();
  stderr.end();
  return { status, stdout: await text(stdout), stderr: await text(stderr) };
}

async function logLines(): Promise<Record<string, unknown>[]> {
  const logs = join(repository, 'logs');
  const [name = ''] = await readdir(logs);
  const lines = (await readFile(join(logs, name), 'utf8')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line));
}

describe('a command that does its work', () => {
  it('answers on stdout, speaks on stderr, and has a first and a last line in its log', async () => {
    const command = commandThat(({ context }) => context.log.step('a step'));
    const { status, stdout, stderr } = await execute(command, ['app']);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: 'the answer\n',
      stderr: 'a step\n',
    });
    const lines = await logLines();
    expect(lines.map(({ msg }) => msg)).toEqual(['begins', 'a step', 'ends']);
    expect(lines.at(-1)).toMatchObject({ exit_status: 0, command: 'sample.ts' });
    expect(new Set(lines.map(({ run }) => run)).size).toBe(1);
  });

  it('with --json writes one document and nothing else to stdout', async () => {
    const { stdout } = await execute(
      commandThat(() => undefined),
      ['--json'],
    );
    expect(JSON.parse(stdout)).toEqual({ done: true });
  });

  it('keeps the password of a URL out of its log', async () => {
    const url = 'postgresql://backup:s3cr%20et@db.example.com/app';
    await execute(
      commandThat(() => undefined),
      [url],
    );
    expect(JSON.stringify(await logLines())).not.toContain('s3cr');
  });

  it('goes on without a log where that cannot be written, with a warning', async () => {
    await openRepository(repository, { create: true, now: new Date() });
    await rm(join(repository, 'logs'), { recursive: true, force: true });
    await writeFile(join(repository, 'logs'), 'in the way');
    const { status, stderr } = await execute(
      commandThat(() => undefined),
      [],
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(/^warning: this run has no whole log file: /);
  });
});

describe('a command that fails', () => {
  const failing = commandThat(() => {
    const details = { missing: ['a'] };
    throw new HoldfastError('DAMAGED', 'a file is cut', { hint: 'Restore another.', details });
  });

  it('says what and what to do, and ends with the status of the error', async () => {
    const { status, stdout, stderr } = await execute(failing, []);
    expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
    expect(stderr).toBe('error: a file is cut\nhint: Restore another.\n');
    expect((await logLines()).map(({ msg }) => msg)).toEqual(['begins', 'ends', 'a file is cut']);
  });

  it('with --json tells it in the document too', async () => {
    const { stdout } = await execute(failing, ['--json']);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'DAMAGED',
        message: 'a file is cut',
        hint: 'Restore another.',
        exit_status: 4,
        missing: ['a'],
      },
    });
  });

  it('by a fault of its own says so, with status 1', async () => {
    const { status, stderr } = await execute(
      commandThat(() => {
        throw new TypeError('x is not a function');
      }),
      [],
    );
    expect(status).toBe(1);
    expect(stderr).toContain('error: x is not a function\nhint: This is a fault of Holdfast');
  });

  it('after a signal tells the signal, whatever broke because of it', async () => {
    const controller = new AbortController();
    const command = commandThat(() => {
      controller.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGTERM'));
      throw new Error('write EPIPE');
    });
    const { status, stderr } = await execute(command, [], controller.signal);
    expect(status).toBe(130);
    expect(stderr).toBe('error: interrupted by SIGTERM\n');
  });
});

describe('a command that cannot begin', () => {
  const never = commandThat(() => {
    throw new Error('it began');
  });

  it('for a wrong flag or setting says so before it touches anything', async () => {
    const flag = await execute(never, ['--nonsense', '--json']);
    expect(flag.status).toBe(2);
    expect(JSON.parse(flag.stdout)).toMatchObject({ error: { code: 'USAGE', exit_status: 2 } });
    expect(flag.stderr).toContain('hint: Type sample.ts --help');
    const config = await execute(never, ['--config', join(folder, 'no.yaml')]);
    expect(config.status).toBe(2);
    expect(config.stderr).toContain('there is no such file');
    expect(await readdir(folder)).toEqual([]);
  });

  it('without a repository says where it looked', async () => {
    const { status, stderr } = await execute({ ...never, repository: 'need' }, []);
    expect(status).toBe(5);
    expect(stderr).toContain(repository);
  });

  it('in a folder that is none leaves it as it is', async () => {
    await mkdir(repository);
    await writeFile(join(repository, 'thesis.txt'), 'all my work');
    const { status } = await execute(never, []);
    expect(status).not.toBe(0);
    expect(await readdir(repository)).toEqual(['thesis.txt']);
  });
});
