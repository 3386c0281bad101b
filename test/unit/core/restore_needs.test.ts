import { describe, expect, it } from 'vitest';
import type { BaseManifest } from '../../../src/core/base_manifest.ts';
import { restoreNeeds } from '../../../src/core/restore_needs.ts';

type Sized = Parameters<typeof restoreNeeds>[0][0];

function backup(cluster: number, base: number, spaces: Record<number, number> = {}): Sized {
  const file = (name: string, role: 'base' | 'tablespace', bytes: number) =>
    ({ name, role, plain: { bytes } }) as BaseManifest['files'][number];
  const oids = Object.keys(spaces).map(Number);
  return {
    cluster_bytes: cluster,
    files: [
      file('base.tar.zst', 'base', base),
      ...oids.map((oid) => file(`${oid}.tar.zst`, 'tablespace', spaces[oid] ?? 0)),
    ],
    tablespaces: oids.map((oid) => ({ oid, name: `t${oid}`, file: `${oid}.tar.zst` })),
  };
}

describe('the room that a restore needs', () => {
  it('is that of the files, of a whole backup', () => {
    expect(restoreNeeds([backup(900, 1000, { 7: 500 })])).toEqual([
      { oid: null, bytes: 1020 },
      { oid: 7, bytes: 510 },
    ]);
  });

  it('is that of all links and of what they become, of a chain', () => {
    const chain = [backup(1000, 1000, { 7: 500 }), backup(2000, 100, { 7: 50, 8: 30 })] as const;
    expect(restoreNeeds(chain)).toEqual([
      { oid: null, bytes: Math.ceil((1100 + 2000) * 1.02) },
      { oid: 7, bytes: Math.ceil((550 + 1000) * 1.02) },
      { oid: 8, bytes: Math.ceil((30 + 60) * 1.02) },
    ]);
  });

  it('never shrinks with the cluster, and forgets tablespaces that were dropped', () => {
    const chain = [backup(2000, 1000, { 7: 500 }), backup(1000, 100)] as const;
    expect(restoreNeeds(chain)).toEqual([{ oid: null, bytes: 2142 }]);
  });
});
