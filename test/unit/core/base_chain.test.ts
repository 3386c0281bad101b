import { describe, expect, it } from 'vitest';
import { type ChainLink, chainOf, chooseParent, isGood } from '../../../src/core/base_chain.ts';

const server = { system_identifier: '7' } as NonNullable<ChainLink['manifest']>['server'];

function link(day: number, parentDay: number | null, more: Partial<ChainLink> = {}): ChainLink {
  const name = (at: number, kind: string) =>
    `202611${String(at).padStart(2, '0')}T020000Z-${kind}-aaaa`;
  const kindOf = (at: number) => (at === 1 || at === 10 ? 'base' : 'incr');
  const parent = parentDay === null ? null : name(parentDay, kindOf(parentDay));
  const manifest = { parent, server, damaged_pages: [] };
  return { label: name(day, kindOf(day)), manifest, check: null, ...more };
}

const [first, second, third] = [link(1, null), link(2, 1), link(3, 2)];
const all = [third, first, second];

describe('a chain', () => {
  it('goes from the whole one to the wanted one', () => {
    expect(chainOf(all, third.label).links).toEqual([first, second, third]);
    expect(chainOf(all, first.label).links).toEqual([first]);
  });

  it('is broken by what is missing or damaged, which is named', () => {
    expect(chainOf([first, third], third.label)).toEqual({ links: null, broken: second.label });
    const damaged = { ...second, check: { kind: 'damaged' } };
    expect(chainOf([first, damaged, third], third.label).broken).toBe(second.label);
    const unreadable = { ...first, manifest: null };
    expect(chainOf([unreadable, second, third], third.label).broken).toBe(first.label);
  });
});

describe('the parent of a new one', () => {
  it('is the youngest whose chain is there', () => {
    expect(chooseParent(all, '7')).toEqual(third);
    expect(chooseParent([first, third], '7')).toEqual(first);
    expect(chooseParent([third], '7')).toBeNull();
  });

  it('is of the same cluster, and holds no damaged page', () => {
    expect(chooseParent(all, '8')).toBeNull();
    const pages = { parent: null, server, damaged_pages: ['checksum verification failed'] };
    const hurt = { ...link(10, null), manifest: pages };
    expect(isGood(hurt)).toBe(false);
    expect(chooseParent([...all, hurt], '7')).toEqual(third);
  });
});
