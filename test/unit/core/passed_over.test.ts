import { describe, expect, it } from 'vitest';
import type { ChainLink } from '../../../src/core/base_chain.ts';
import { passedOver } from '../../../src/core/passed_over.ts';

const server = { system_identifier: '7' } as NonNullable<ChainLink['manifest']>['server'];

function link(label: string, parent: string | null, kind?: string): ChainLink {
  const manifest = { parent, server, damaged_pages: [] };
  return { label, manifest, check: kind === undefined ? null : { kind } };
}

describe('what a recovery passes over', () => {
  const links = [link('c', 'b'), link('a', null), link('b', 'a', 'damaged'), link('d', 'x')];

  it('is what is younger and damaged, or needs what is, newest first', () => {
    expect(passedOver(links, 'a')).toEqual([
      { label: 'd', why: 'it needs x, which is missing or damaged' },
      { label: 'c', why: 'it needs b, which is missing or damaged' },
      { label: 'b', why: 'it is damaged' },
    ]);
    expect(passedOver(links, 'c').map(({ label }) => label)).toEqual(['d']);
    expect(passedOver(links, null)).toHaveLength(3);
  });

  it('is nothing where all is well, or what cannot be used is older', () => {
    expect(passedOver(links, 'd')).toEqual([]);
    expect(passedOver([link('a', null), link('b', 'a')], 'a')).toEqual([]);
  });
});
