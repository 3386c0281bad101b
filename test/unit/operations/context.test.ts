import { describe, expect, it } from 'vitest';
import {
  flowContext,
  type RepositoryContext,
  shareContext,
} from '../../../src/operations/context.ts';

const log = {} as RepositoryContext['log'];

function threadsOfEach(threads: number, parallel: number): number {
  const settings = { threads, compression: 'zstd' };
  const context = { config: { settings } } as RepositoryContext;
  const own = shareContext(context, log, parallel);
  expect(own.config.settings.compression).toBe('zstd');
  expect(own.log).toBe(log);
  expect(context.config.settings.threads).toBe(threads);
  return flowContext(own).threads;
}

describe('the threads of several backups at once', () => {
  it('are together those of the setting', () => {
    expect(threadsOfEach(8, 1)).toBe(8);
    expect(threadsOfEach(8, 2)).toBe(4);
    expect(threadsOfEach(7, 3)).toBe(2);
  });

  it('are one for each at the least', () => {
    expect(threadsOfEach(1, 2)).toBe(1);
    expect(threadsOfEach(2, 5)).toBe(1);
  });
});
