import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { localSpec, type StoreSpec, storesOf } from '../../../src/config/stores.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-stores-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function stores(yaml: string, environment: Record<string, string> = {}) {
  await writeFile(join(folder, 'holdfast.yaml'), yaml, { mode: 0o600 });
  const input = { flags: {}, cwd: folder, projectDir: folder, environment };
  const { settings } = await loadConfig(input);
  return { settings, specs: storesOf(settings) };
}

const names = (specs: readonly StoreSpec[]) => specs.map(({ name }) => name);

describe('the stores of a run', () => {
  it('are BACKUP_DIR alone, where nothing else is set', async () => {
    const { settings, specs } = await stores('retention_daily: 3\n');
    const retention = { ...localSpec('').retention, retention_daily: 3 };
    expect(specs).toEqual([localSpec(settings.backup_dir, retention)]);
  });

  it('take one bucket from the environment, and leave it out where it is switched off', async () => {
    const variables = { AWS_S3_BUCKET: 'acme-backups', AWS_REGION: 'eu-central-1' };
    const { specs } = await stores('', variables);
    expect(names(specs)).toEqual(['local', 's3']);
    expect(specs[1]).toMatchObject({
      kind: 's3',
      isRequired: true,
      bytesPerSecondMax: null,
      stallMs: 300_000,
      s3: { bucket: 'acme-backups', region: 'eu-central-1', prefix: null },
    });
    const off = await stores('', { ...variables, ENABLE_S3_UPLOAD: 'false' });
    expect(names(off.specs)).toEqual(['local']);
  });

  it('are as many as the file names, each with what it says for itself', async () => {
    const yaml = [
      's3:',
      '  bucket: one-bucket',
      '  prefix: main',
      '  endpoint: https://s3.example.com',
      '  secret_access_key: hush',
      '  max_rate_mb: 2',
      '  retention_weekly: 52',
      'stores:',
      '  nas:',
      '    path: nas/holdfast',
      '    required: no',
      '  other:',
      '    bucket: other-bucket',
      '    max_rate_mb: 0.5',
      '    retention_daily: 90',
      '  unused:',
      '    bucket: unused-bucket',
      '    enabled: false',
      '',
    ].join('\n');
    const { specs } = await stores(yaml);
    expect(names(specs)).toEqual(['local', 's3', 'nas', 'other']);
    const [, first, nas, other] = specs;
    expect(first).toMatchObject({ bytesPerSecondMax: 2 * 1024 * 1024, s3: { prefix: 'main' } });
    expect(nas).toMatchObject({
      kind: 'folder',
      path: join(folder, 'nas/holdfast'),
      isRequired: false,
    });
    expect(other).toMatchObject({
      bytesPerSecondMax: 512 * 1024,
      s3: { bucket: 'other-bucket', prefix: null, endpoint: 'https://s3.example.com' },
      retention: { retention_daily: 90, retention_weekly: 52, retention_monthly: 12 },
    });
    expect(JSON.stringify(specs)).not.toContain('hush');
  });

  it('may do without BACKUP_DIR, but not without any', async () => {
    const { specs } = await stores('local_copy: false\ns3: { bucket: one-bucket }\n');
    expect(names(specs)).toEqual(['s3']);
    await expect(stores('local_copy: false\n')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'local_copy switches off the only store',
    });
  });

  it.each([
    ['stores: { nas: {} }\n', 'the store "nas" has neither a bucket nor a path'],
    ['stores: { nas: { path: a, bucket: abc } }\n', 'the store "nas" has a bucket and a path'],
    ['stores: { local: { path: a } }\n', '"local" is no name for a store'],
    ['stores: { "a b": { path: a } }\n', '"a b" is no name for a store'],
    ['stores: { nas: { pat: a } }\n', 'there is no setting "stores.nas.pat"'],
    ['s3: { bucket: A }\n', '"A" is not the name of a bucket'],
    ['s3: { prefix: a/../b }\n', '"a/../b" is not a path'],
    ['s3: { prefix: /a }\n', '"/a" is not a path'],
    ['s3: { endpoint: s3.example.com }\n', '"s3.example.com" is not a URL'],
  ])('refuse %j', async (yaml, message) => {
    await expect(stores(yaml)).rejects.toThrow(message);
  });
});
