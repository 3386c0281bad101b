import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  replaceGenerated,
  sampleEnv,
  sampleYaml,
  settingsTable,
} from '../../../src/config/describe.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { allSettings } from '../../../src/config/schema.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-sample-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function loadFile(name: string, text: string) {
  await writeFile(join(folder, name), text, { mode: 0o600 });
  return loadConfig({ flags: {}, cwd: folder, projectDir: folder, environment: {} });
}

describe('the samples', () => {
  it('change nothing as they are', async () => {
    const { sources } = await loadFile('holdfast.yaml', sampleYaml());
    await rm(join(folder, 'holdfast.yaml'));
    const fromEnv = await loadFile('.env', sampleEnv());
    for (const source of [...sources.values(), ...fromEnv.sources.values()]) {
      expect(source.origin).toBe('default');
    }
  });

  it('are valid with every setting switched on', async () => {
    const yaml = sampleYaml()
      .replace('#databases: [mastertrade, tutoring]\n', '')
      .replaceAll(/^( *)#(?=(?: {2,})?[a-z_]+:)/gm, '$1');
    const fromYaml = await loadFile('holdfast.yaml', yaml);
    expect(Object.keys(fromYaml.settings.databases)).toEqual(['trading', 'tutoring']);
    await rm(join(folder, 'holdfast.yaml'));
    const fromEnv = await loadFile('.env', sampleEnv().replaceAll(/^#(?=[A-Z0-9_]+=)/gm, ''));
    for (const [path] of allSettings()) {
      expect(fromYaml.sources.get(path)?.origin, path).toBe('holdfast.yaml');
      expect(fromEnv.sources.get(path)?.origin, path).toBe('.env');
    }
  });
});

describe('the reference', () => {
  it('has every setting with its variables', () => {
    const table = settingsTable('all');
    for (const [path, setting] of allSettings()) {
      expect(table).toContain(`| \`${path}\` |`);
      for (const name of setting.env) expect(table).toContain(`\`${name}\``);
    }
  });

  it('goes between its markers and nowhere else', () => {
    const text = 'a\n<!-- settings:begin -->\nold\n<!-- settings:end -->\nz\n';
    const replaced = replaceGenerated(text, 'new\n');
    expect(replaced).toBe('a\n<!-- settings:begin -->\n\nnew\n\n<!-- settings:end -->\nz\n');
    expect(replaceGenerated(replaced, 'new\n')).toBe(replaced);
    expect(replaceGenerated('no markers', 'new')).toBe('no markers');
  });
});

describe('the table of settings', () => {
  it('names no variable and no flag twice', () => {
    const names = allSettings().flatMap(([, { env, flag }]) => [...env, ...(flag ? [flag] : [])]);
    expect(new Set(names).size).toBe(names.length);
  });
});
