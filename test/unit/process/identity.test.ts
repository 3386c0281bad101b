import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import {
  identityName,
  ownIdentity,
  parseIdentityName,
  processState,
} from '../../../src/process/identity.ts';

describe('the identity of a process', () => {
  it('is alive while it runs and dead afterwards', async () => {
    const own = ownIdentity();
    expect(processState(own)).toBe('alive');
    const child = spawn('sleep', ['60']);
    const identity = { ...own, pid: child.pid ?? 0, started: '' };
    expect(processState(identity)).toBe('alive');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(processState(identity)).toBe('dead');
  });

  it('is another one with another start time or after another boot', () => {
    const own = ownIdentity();
    expect(processState({ ...own, started: '1' })).toBe('dead');
    expect(processState({ ...own, boot: `x${own.boot}` })).toBe('dead');
  });

  it('is read back from a name that it is part of', () => {
    const odd = { ...ownIdentity(), host: 'db~1/ä' };
    expect(identityName(odd)).not.toContain('/');
    expect(parseIdentityName(`${identityName(odd)}~x7Fq2a`)).toEqual(odd);
    expect(parseIdentityName('x7Fq2a')).toBeNull();
  });

  it('cannot be told from here for another host or another container', () => {
    const own = ownIdentity();
    expect(processState({ ...own, host: 'elsewhere' })).toBe('unknown');
    expect(processState({ ...own, boot: `${own.boot}1` })).toBe('unknown');
  });
});
