import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../../src/core/manifest.ts';
import {
  manifestSchemaText,
  parseManifest,
  serializeManifest,
} from '../../../src/core/manifest_codec.ts';
import { sampleManifest } from '../../support/sample_backup.ts';

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));

function problemOf(bytes: Uint8Array): string {
  try {
    parseManifest(bytes);
  } catch (error) {
    expect(error).toMatchObject({ code: 'MANIFEST_INVALID', status: 4 });
    return (error as Error).message;
  }
  throw new Error('the manifest was taken');
}

describe('the manifest as bytes', () => {
  it('comes back as it was, and the same manifest always gives the same bytes', () => {
    const manifest = sampleManifest();
    const bytes = serializeManifest(manifest);
    expect(parseManifest(bytes)).toEqual(manifest);
    expect(Buffer.from(serializeManifest(parseManifest(bytes))).equals(bytes)).toBe(true);
    expect(Buffer.from(bytes).toString('utf8').endsWith('}\n')).toBe(true);
  });

  it('is refused when a newer version wrote it, with a hint', () => {
    const newer = bytesOf({ ...sampleManifest(), format: 2, more: true });
    expect(() => parseManifest(newer)).toThrow('has the format 2; this version knows up to 1');
    expect(() => parseManifest(newer)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('newer version') }),
    );
  });

  it.each<[string, Uint8Array, string]>([
    ['nothing', Buffer.alloc(0), 'not valid JSON'],
    ['cut text', bytesOf(sampleManifest()).subarray(0, 500), 'not valid JSON'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not valid JSON'],
    ['a list', bytesOf([]), 'must be object'],
    ['nothing in it', bytesOf({}), "required property 'format'"],
    ['an unknown key', bytesOf({ ...sampleManifest(), extra: 1 }), '"extra"'],
    ['a label that is none', bytesOf({ ...sampleManifest(), label: '../../etc' }), '/label'],
  ])('is refused when it is %s', (_, bytes, message) => {
    expect(problemOf(bytes)).toContain(message);
  });

  const [dump, globals, script] = sampleManifest().files;
  it.each<[string, Partial<Manifest>, string]>([
    ['a date that does not exist', { label: '20261345T020000Z-daily-k3f9' }, 'is not a label'],
    ['another tier than its label', { tier: 'weekly' }, 'not of its tier'],
    ['a file twice', { files: [dump, script, script] as Manifest['files'] }, 'listed twice'],
    ['no dump', { files: [globals, script] as Manifest['files'] }, '0 dumps'],
    [
      'itself as a file',
      { files: [dump, { ...script, name: 'manifest.json' }] as Manifest['files'] },
      'is listed as a file',
    ],
    [
      'a path as a file',
      { files: [{ ...dump, name: '../dump' }] as Manifest['files'] },
      '/files/0/name',
    ],
    [
      'plain bytes that nothing proves',
      { files: [{ ...dump, filters: [], plain: null }] as unknown as Manifest['files'] },
      'nothing proves the plain bytes of database.dump.zst',
    ],
    [
      'an unknown filter',
      { files: [{ ...dump, filters: [{ name: 'sh', level: 1 }] }] as unknown as Manifest['files'] },
      '/files/0/filters/0',
    ],
  ])('is refused with %s, when it is read and when it is written', (_, change, message) => {
    const manifest = { ...sampleManifest(), ...change };
    expect(problemOf(bytesOf(manifest))).toContain(message);
    expect(() => serializeManifest(manifest)).toThrow(message);
  });

  it('is published as a JSON schema that takes and refuses the same', () => {
    const validate = new Ajv().compile(JSON.parse(manifestSchemaText()));
    expect(validate(sampleManifest())).toBe(true);
    expect(validate({ ...sampleManifest(), extra: 1 })).toBe(false);
  });
});
