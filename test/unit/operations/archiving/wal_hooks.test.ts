import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  archiveCommand,
  hookFile,
  hookPath,
  recoveryEndCommand,
  renderWalFetch,
  renderWalPush,
  restoreCommand,
} from '../../../../src/operations/archiving/wal_hooks.ts';

const odd = `/it's "odd" %f $(touch x) @PATH@/wal`;
const claim = {
  system_identifier: '7423456789012345678',
  host: "h'ost",
  data_directory: odd,
  claimed_at: '2026-11-21T02:00:00.000Z',
  claim_id: 'k3f9',
};
const fetchFacts = {
  archive: odd,
  systemIdentifier: claim.system_identifier,
  segmentBytes: 16 * 1024 * 1024,
  path: '/usr/bin:/bin',
  jobs: 2,
};

/** The value that a shell gives to a variable of a hook. */
function wordOf(script: string, name: string): string {
  const line = script.split('\n').find((each) => each.startsWith(`${name}=`)) ?? '';
  return execFileSync('/bin/sh', ['-c', `${line}\nprintf %s "$${name}"`], { encoding: 'utf8' });
}

describe('the hooks', () => {
  it('hold every value as it is, whatever a shell would make of it', () => {
    const compressionLevel = 1;
    const { segmentBytes, path } = fetchFacts;
    const facts = { archive: odd, markers: odd, claim, segmentBytes, compressionLevel, path };
    const push = renderWalPush(facts);
    expect(wordOf(push, 'archive')).toBe(odd);
    expect(wordOf(push, 'host')).toBe(claim.host);
    expect(JSON.parse(wordOf(push, 'claim'))).toEqual(claim);
    const number = BigInt(claim.system_identifier);
    const halves = [wordOf(push, 'system_high'), wordOf(push, 'system_low')].map(BigInt);
    expect(((halves[0] ?? 0n) << 32n) + (halves[1] ?? 0n)).toBe(number);
    expect(push).not.toMatch(/^[^']*@[A-Z_]+@/m);
  });

  it.each([
    [1, '8', '2'],
    [16, '8', '2'],
    [64, '4', '2'],
    [1024, '1', '1'],
  ])('unpack ahead within bounds: segments of %i MB', (megabytes, ahead, jobs) => {
    const text = renderWalFetch({ ...fetchFacts, segmentBytes: megabytes * 1024 * 1024 });
    expect([wordOf(text, 'ahead'), wordOf(text, 'jobs')]).toEqual([ahead, jobs]);
  });

  it('end a recovery at a gap only where they are told to', () => {
    expect(wordOf(renderWalFetch(fetchFacts), 'gap_ends')).toBe('no');
    const told = renderWalFetch({ ...fetchFacts, gapEndsRecovery: true });
    expect(wordOf(told, 'gap_ends')).toBe('yes');
  });

  it('are called by commands in which the server replaces nothing of the path', () => {
    const hook = hookFile('/it%p', 'main cluster', 'wal_push');
    expect(hook).toBe('/it%p/hooks/main%20cluster/wal_push');
    expect(archiveCommand(hook)).toBe("'/it%%p/hooks/main%%20cluster/wal_push' %p %f || exit 1");
    expect(restoreCommand("/it's")).toBe("'/it'\\''s' %f %p");
    expect(restoreCommand('/x', 'wal/a%')).toBe("'/x' %f %p 'wal/a%%'");
    expect(restoreCommand('/x', null, 'A')).toBe("'/x' %f %p '' 'A'");
    expect(recoveryEndCommand('/h')).toBe("'/h' --end");
  });

  it('find their programs, and say what is missing', async () => {
    const path = await hookPath({ PATH: process.env.PATH ?? '' });
    expect(path.split(':')).toEqual(expect.arrayContaining(['/usr/bin', '/bin']));
    await expect(hookPath({ PATH: '/nonexistent' })).rejects.toThrow('zstd is not installed');
  });
});
