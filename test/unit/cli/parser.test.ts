import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backupFull } from '../../../src/cli/backup_full_command.ts';
import type { Command } from '../../../src/cli/command.ts';
import { listBackups } from '../../../src/cli/list_backups_command.ts';
import { commonOptions, settingOptions } from '../../../src/cli/options.ts';
import { createParser } from '../../../src/cli/parser.ts';
import { restoreBackup } from '../../../src/cli/restore_backup_command.ts';
import { verifyBackups } from '../../../src/cli/verify_backups_command.ts';
import { toolVersion } from '../../../src/cli/version.ts';
import type { HoldfastError } from '../../../src/core/errors.ts';

const commands: readonly Command[] = [backupFull, listBackups, restoreBackup, verifyBackups];
const named = commands.map((command) => [command.name, command] as const);

function parse(command: Command, ...argv: string[]) {
  return createParser(command, commonOptions, settingOptions).parse(argv);
}

async function refusal(command: Command, ...argv: string[]): Promise<HoldfastError> {
  return parse(command, ...argv).then(
    () => Promise.reject(new Error(`taken: ${argv.join(' ')}`)),
    (error: HoldfastError) => error,
  );
}

describe('arguments', () => {
  it('are databases and flags, in any order', async () => {
    const { flags, operands, answer } = await parse(
      backupFull,
      'app',
      '--type',
      'weekly',
      'other',
      '--verify',
      '--compression-level=19',
    );
    expect(answer).toBeNull();
    expect(operands).toEqual(['app', 'other']);
    expect(flags).toMatchObject({ type: 'weekly', verify: true, 'compression-level': '19' });
  });

  it('keep every name as it is typed: numbers, dots, equals signs, quotes, spaces', async () => {
    const name = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => text[0] !== '-');
    await fc.assert(
      fc.asyncProperty(fc.array(name), async (names) => {
        expect((await parse(backupFull, ...names)).operands).toEqual(names);
      }),
      { numRuns: 50 },
    );
    expect((await parse(backupFull, '007', '1e3', 'a.b', 'x=y', 'true')).operands).toEqual([
      '007',
      '1e3',
      'a.b',
      'x=y',
      'true',
    ]);
  });

  it('after -- are names, whatever they begin with', async () => {
    expect((await parse(backupFull, '--', '--all', '-x')).operands).toEqual(['--all', '-x']);
  });

  it('of a flag that takes a name keep it too', async () => {
    const { flags } = await parse(restoreBackup, '--latest', '007', '--target-database', 'a.b c');
    expect(flags).toMatchObject({ latest: '007', 'target-database': 'a.b c' });
  });
});

describe('a wrong argument', () => {
  it.each(named)('of %s: an unknown flag is named, with the way to help', async (name, command) => {
    const error = await refusal(command, '--nonsense');
    expect(error).toMatchObject({ code: 'USAGE', status: 2 });
    expect(error.message).toContain('nonsense');
    expect(error.message).toMatch(/^[a-z]/);
    expect(error.hint).toBe(`Type ${name} --help for what it takes.`);
  });

  it('that is nearly a flag is told with the flag that was probably meant', async () => {
    const nearly = await refusal(restoreBackup, '--jbos', '4');
    expect(nearly.message).toBe('unknown flag --jbos; did you mean --jobs?');
    const withValue = await refusal(backupFull, '--compresion=gzip');
    expect(withValue.message).toBe('unknown flag --compresion; did you mean --compression?');
    const far = await refusal(listBackups, '--xyzzyxyzzy');
    expect(far.message).toBe('unknown flag --xyzzyxyzzy');
    const several = await refusal(listBackups, '--one', '--three');
    expect(several.message).toBe('unknown flags --one, --three');
  });

  it('that is not one of the choices is told with all of them', async () => {
    const { message } = await refusal(backupFull, '--type', 'hourly');
    expect(message).toContain('"hourly"');
    expect(message).toContain('"daily", "weekly", "monthly", "manual"');
    expect(message).not.toContain('\n');
  });

  it('is a flag without its value', async () => {
    for (const flag of ['--compression', '--backup-dir', '--config']) {
      const { message } = await refusal(backupFull, flag);
      expect(message, flag).toContain(flag.slice(2));
    }
  });

  it('is both --quiet and --verbose', async () => {
    expect((await refusal(listBackups, '--quiet', '--verbose')).message).toContain('quiet');
  });

  it('is a setting that this command does not take', async () => {
    expect((await refusal(listBackups, '--compression', 'gzip')).message).toContain('compression');
  });

  it('is not a flag that is cut or in camel case', async () => {
    await refusal(backupFull, '--backupDir', '/x');
    await refusal(backupFull, '--comp', 'gzip');
    await refusal(backupFull, '--no-verify');
  });
});

describe('help', () => {
  it.each(named)('of %s tells what it does, every flag, and examples', async (name, command) => {
    const { answer } = await parse(command, '--help');
    const words = answer?.replaceAll(/\s+/g, ' ');
    expect(words).toContain(`${name} ${command.operands}`);
    expect(words).toContain(command.summary);
    for (const [example, what] of command.examples) {
      for (const word of example.split(' ')) expect(words).toContain(word);
      expect(words).toContain(what);
    }
    for (const flag of ['backup-dir', 'config', 'env-file', 'json', ...command.settings]) {
      expect(answer, flag).toContain(`--${flag} `);
    }
    expect(Math.max(...(answer ?? '').split('\n').map((line) => line.length))).toBeLessThan(101);
  });

  it('is given whatever else stands there, and so is the version', async () => {
    expect((await parse(backupFull, 'app', '--help')).answer).toContain('backup_full.ts');
    expect((await parse(backupFull, '--version')).answer).toBe(toolVersion());
  });
});

describe('the version', () => {
  it('is a semantic version', () => expect(toolVersion()).toMatch(/^\d+\.\d+\.\d+$/));
});
