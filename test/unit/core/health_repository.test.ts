import { describe, expect, it } from 'vitest';
import { type StoreFacts, storeHealth } from '../../../src/core/health_repository.ts';

const facts: StoreFacts = {
  name: 'nas',
  isRequired: true,
  description: 'local store /nas',
  failure: null,
  problem: null,
  repositoryId: 'id-1',
  expectedId: 'id-1',
  backups: 3,
};
const look = (parts: Partial<StoreFacts>) => storeHealth({ ...facts, ...parts });

describe('a store', () => {
  it('is fine when it holds this repository, or nothing yet', () => {
    expect(look({})).toMatchObject({ level: 'ok', subject: 'nas', mend: null });
    expect(look({ repositoryId: null, backups: 0 })).toMatchObject({ level: 'ok' });
  });

  it.each([
    ['it does not answer', { failure: { message: 'refused', hint: 'Look.' } }],
    ['read-only', { problem: { kind: 'read-only', path: '/nas' } }],
    ['the mode', { problem: { kind: 'mode', path: '/nas/full' } }],
    ['belongs to', { problem: { kind: 'owner', path: '/nas', owner: 'root', user: 'pg' } }],
    ['no holdfast.json', { repositoryId: null }],
    ['another repository', { repositoryId: 'id-2' }],
  ] as const)('is critical where a run needs it, else a warning: %s', (text, parts) => {
    const finding = look(parts);
    expect(finding.level).toBe('critical');
    expect(finding.message).toContain(text);
    expect(finding.mend).not.toBeNull();
    expect(look({ ...parts, isRequired: false }).level).toBe('warning');
  });

  it('quotes what is typed', () => {
    const path = "/na s/it's";
    expect(look({ problem: { kind: 'mode', path } }).mend).toContain(`'/na s/it'\\''s'`);
  });
});
